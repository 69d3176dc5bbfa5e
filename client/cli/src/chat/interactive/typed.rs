//! What a person typed: text to send, or a command.

use std::path::PathBuf;

/// A line of a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Typed {
    /// Nothing.
    Empty,
    /// Text to send.
    Text(String),
    Help,
    Verify,
    Export(PathBuf),
    File(PathBuf),
    Save(usize, Option<PathBuf>),
    Close {
        /// Without being asked.
        now: bool,
    },
    List {
        /// Also all that ended.
        all: bool,
    },
    Switch(usize),
    /// So many of the last messages.
    History(usize),
    Accept,
    Claim(usize),
    Away,
    Back,
    New(Option<String>),
    Agree,
    Reassign,
    Quit,
    /// A command that is none, or lacks something: what to say.
    Wrong(String),
}

/// Messages that `/history` shows.
const HISTORY: usize = 50;

/// What `/help` prints.
pub(super) const HELP: &str = "\
Type to write; a line that starts with // is sent with one slash.
  /verify          safety number, and everyone who can read
  /file PATH       send a file
  /save N [PATH]   save the file of message N, in a folder or under a name
  /export FILE     write the transcript; attachments beside it in FILE.files
  /list [all]      conversations that are open, or all
  /switch N        go to conversation N
  /history [N]     the last N messages
  /close [now]     close the conversation for good; /close now does not ask
  /quit            leave; what is not delivered yet is kept";

/// The part of `/help` for customers.
pub(super) const CUSTOMER_HELP: &str = "  /new [TOPIC]     open another conversation
  /agree           agree to the privacy notice that was shown
  /reassign        let another agent take over when the first did not accept";

/// The part of `/help` for agents.
pub(super) const AGENT_HELP: &str = "  /accept          take the conversation that waits (with --manual)
  /claim N         claim conversation N of those that wait
  /away, /back     stop or go on taking new conversations";

/// The path that a person means, as in a shell: in quotes as it stands, which is how terminals paste a file that was
/// dropped on them; else `~/` is the person's home.
fn named(text: &str) -> PathBuf {
    let quoted = ['\'', '"'].into_iter().find_map(|quote| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        (!inner.is_empty() && !inner.contains(quote)).then_some(inner)
    });
    if let Some(quoted) = quoted {
        return quoted.into();
    }
    // How an apostrophe stands in single quotes.
    let apart = text
        .strip_prefix('\'')
        .and_then(|text| text.strip_suffix('\''))
        .map(|text| text.replace(r"'\''", "\0"));
    if let Some(apart) = apart.filter(|text| text.contains('\0') && !text.contains('\'')) {
        return apart.replace('\0', "'").into();
    }
    match (text.strip_prefix('~'), std::env::home_dir()) {
        (Some(""), Some(home)) => home,
        (Some(rest), Some(home)) if rest.starts_with('/') => home.join(rest.trim_start_matches('/')),
        _ => text.into(),
    }
}

/// Reads a line; anything is allowed.
pub(super) fn parse(line: &str) -> Typed {
    let line = line.trim();
    let Some(rest) = line.strip_prefix('/') else {
        return if line.is_empty() { Typed::Empty } else { Typed::Text(line.into()) };
    };
    if rest.starts_with('/') {
        return Typed::Text(rest.into());
    }
    let (word, argument) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let argument = argument.trim();
    let path = |what: &str| {
        if argument.is_empty() {
            Err(Typed::Wrong(format!("{what} what? Write /{word} PATH.")))
        } else {
            Ok(named(argument))
        }
    };
    let number = |text: &str| {
        text.parse::<usize>()
            .ok()
            .filter(|n| *n > 0)
            .ok_or_else(|| Typed::Wrong(format!("Write /{word} N, with the number that is shown.")))
    };
    let result = match word {
        "help" | "?" => Ok(Typed::Help),
        "verify" => Ok(Typed::Verify),
        "export" => path("Export to").map(Typed::Export),
        "file" => path("Send").map(Typed::File),
        "save" => {
            let (n, to) = argument.split_once(char::is_whitespace).unwrap_or((argument, ""));
            let to = to.trim();
            number(n).map(|n| Typed::Save(n, (!to.is_empty()).then(|| named(to))))
        }
        "close" if argument.is_empty() => Ok(Typed::Close { now: false }),
        "close" if argument == "now" => Ok(Typed::Close { now: true }),
        "close" => Err(Typed::Wrong(
            "Write /close, which asks first, or /close now; both mean the selected conversation.".into(),
        )),
        "list" => Ok(Typed::List { all: argument == "all" }),
        "history" if argument.is_empty() => Ok(Typed::History(HISTORY)),
        "history" => number(argument).map(Typed::History),
        "switch" => number(argument).map(Typed::Switch),
        "accept" => Ok(Typed::Accept),
        "claim" => number(argument).map(Typed::Claim),
        "away" => Ok(Typed::Away),
        "back" => Ok(Typed::Back),
        "new" => Ok(Typed::New((!argument.is_empty()).then(|| argument.into()))),
        "agree" => Ok(Typed::Agree),
        "reassign" => Ok(Typed::Reassign),
        "quit" | "exit" | "q" => Ok(Typed::Quit),
        _ => Err(Typed::Wrong(
            "There is no such command; /help lists them. Write // to send a line that starts with a slash."
                .into(),
        )),
    };
    result.unwrap_or_else(|wrong| wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_commands() {
        assert_eq!(parse("  hello /there "), Typed::Text("hello /there".into()));
        assert_eq!(parse("//etc/passwd"), Typed::Text("/etc/passwd".into()));
        assert_eq!(parse("/file  /tmp/a b.pdf "), Typed::File("/tmp/a b.pdf".into()));
        assert_eq!(parse("/save 3"), Typed::Save(3, None));
        assert_eq!(parse("/save 3 /tmp/x y"), Typed::Save(3, Some("/tmp/x y".into())));
        assert_eq!(parse("/new billing"), Typed::New(Some("billing".into())));
        assert_eq!(parse("/close now"), Typed::Close { now: true });
        assert_eq!(parse(" \t "), Typed::Empty);
    }

    #[test]
    fn paths_are_what_a_shell_would_take() {
        let home = std::env::home_dir().unwrap();
        assert_eq!(parse("/save 3 ~/a b.pdf"), Typed::Save(3, Some(home.join("a b.pdf"))));
        // The slash at the end says that it is a folder.
        assert_eq!(parse("/save 3 ~/new/"), Typed::Save(3, Some(home.join("new/"))));
        let Typed::Save(_, Some(folder)) = parse("/save 3 ~/new/") else { panic!("no path") };
        assert!(folder.as_os_str().as_encoded_bytes().ends_with(b"/"));
        assert_eq!(parse("/export ~"), Typed::Export(home));
        assert_eq!(parse("/file '/tmp/a b.pdf'"), Typed::File("/tmp/a b.pdf".into()));
        assert_eq!(parse("/file \"~/x\""), Typed::File("~/x".into()));
        assert_eq!(parse(r"/file '/tmp/it'\''s.pdf'"), Typed::File("/tmp/it's.pdf".into()));
        for as_it_stands in ["~other/x", "it's", "'", "''", "'a\"", "'a' 'b'", "a~/b"] {
            assert_eq!(parse(&format!("/file {as_it_stands}")), Typed::File(as_it_stands.into()));
        }
    }

    #[test]
    fn every_command_in_the_help_is_indented() {
        for help in [HELP.split_once('\n').unwrap().1, CUSTOMER_HELP, AGENT_HELP] {
            assert!(help.lines().all(|line| line.starts_with("  /")), "{help}");
        }
    }

    #[test]
    fn anything_else_gets_an_answer() {
        for line in [
            "/",
            "/nope",
            "/save",
            "/save x",
            "/switch 0",
            "/switch -1",
            "/history x",
            "/close 2",
            "/file",
            "/claim 99999999999999999999",
            "/\u{202e}",
            "/é 1",
        ] {
            assert!(matches!(parse(line), Typed::Wrong(_)), "{line}");
        }
    }
}
