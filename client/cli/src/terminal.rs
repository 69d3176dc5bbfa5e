//! Questions to people, and passphrases.

use std::io::{self, BufRead, IsTerminal, Write};
use std::path::Path;

use sealdesk_native::passphrase::Passphrase;
use sealdesk_native::private_file;
use zeroize::Zeroizing;

use crate::error::Error;

/// Longest passphrase file, bytes.
const MAX_FILE: u64 = 4096;

/// Whether somebody can be asked.
pub fn is_interactive() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

/// A passphrase from a file, or from the terminal without echo. `what` it is for, as in "the root key".
///
/// # Errors
/// [`Error::PassphraseNeeded`] without file and terminal; too short; a file that others can read.
pub fn passphrase(file: Option<&Path>, what: &str) -> Result<Passphrase, Error> {
    match file {
        Some(path) => from_file(path),
        None => ask_hidden(&format!("Passphrase of {what}: "), what, "--passphrase-file"),
    }
}

/// As [`passphrase`], for a new one: asked twice, and again for what does not serve. `flag` names its file.
///
/// # Errors
/// As [`passphrase`].
pub fn new_passphrase(file: Option<&Path>, what: &str, flag: &'static str) -> Result<Passphrase, Error> {
    if let Some(path) = file {
        return from_file(path);
    }
    loop {
        let first = match ask_hidden(&format!("New passphrase of {what}: "), what, flag) {
            Err(Error::PassphraseBad(why)) => {
                eprintln!("{why}.");
                continue;
            }
            other => other?,
        };
        // Whether it serves was said of the first.
        match ask_hidden("The same again: ", what, flag) {
            Ok(second) if second == first => return Ok(first),
            Ok(_) | Err(Error::PassphraseBad(_)) => eprintln!("The two are not the same."),
            Err(error) => return Err(error),
        }
    }
}

fn from_file(path: &Path) -> Result<Passphrase, Error> {
    private_file::demand_owner_only(path)?;
    let bytes = Zeroizing::new(private_file::read(path, MAX_FILE)?);
    let malformed = || Error::Malformed { path: path.into(), what: "passphrase (UTF-8 text)" };
    let text = core::str::from_utf8(&bytes).map_err(|_| malformed())?;
    let first = text.lines().next().unwrap_or_default();
    Ok(Passphrase::new(Zeroizing::new(first.into()))?)
}

fn ask_hidden(prompt: &str, what: &str, flag: &'static str) -> Result<Passphrase, Error> {
    if !is_interactive() {
        return Err(Error::PassphraseNeeded { what: what.into(), flag });
    }
    let typed = rpassword::prompt_password(prompt).map_err(Error::Terminal)?;
    Ok(Passphrase::new(Zeroizing::new(typed))?)
}

/// A line from the terminal; empty input takes the default.
///
/// # Errors
/// [`Error::Terminal`]; the end of input is [`Error::Interrupted`].
pub fn ask(question: &str, default: Option<&str>) -> Result<String, Error> {
    loop {
        match default {
            Some(default) => eprint!("{question} [{default}]: "),
            None => eprint!("{question}: "),
        }
        io::stderr().flush().map_err(Error::Terminal)?;
        let mut line = String::new();
        if io::stdin().lock().read_line(&mut line).map_err(Error::Terminal)? == 0 {
            return Err(Error::Interrupted);
        }
        match (line.trim(), default) {
            ("", Some(default)) => return Ok(default.into()),
            ("", None) => eprintln!("An answer is needed here; Ctrl-C ends without one."),
            (typed, _) => return Ok(typed.into()),
        }
    }
}

/// Yes or no.
///
/// # Errors
/// As [`ask`].
pub fn confirm(question: &str) -> Result<bool, Error> {
    Ok(matches!(ask(&format!("{question} (yes/no)"), None)?.to_lowercase().as_str(), "yes" | "y"))
}

/// Writes a line to stdout; a reader that went away is no panic.
///
/// # Errors
/// [`Error::Terminal`].
pub fn out(line: &str) -> Result<(), Error> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(Error::Terminal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use sealdesk_native::passphrase::BadPassphrase;
    use sealdesk_native::private_file::{Access, FileError, create};

    #[test]
    fn a_passphrase_file_is_private_and_its_first_line_counts() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pass");
        create(&path, b"correct horse\nbattery", Access::Owner).unwrap();
        let same = Passphrase::new(Zeroizing::new("correct horse".into())).unwrap();
        assert!(passphrase(Some(&path), "the test").unwrap() == same);
        let short = dir.path().join("short");
        create(&short, b"abc\n", Access::Owner).unwrap();
        assert!(matches!(passphrase(Some(&short), "it"), Err(Error::PassphraseBad(BadPassphrase::Short))));
        let noise = dir.path().join("noise");
        create(&noise, &[0xff; 20], Access::Owner).unwrap();
        assert!(matches!(passphrase(Some(&noise), "it"), Err(Error::Malformed { .. })));
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            let refused = passphrase(Some(&path), "it");
            assert!(matches!(refused, Err(Error::File(FileError::Exposed(_)))));
        }
    }
}
