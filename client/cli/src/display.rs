//! Other people's text on a terminal: no escape sequence acts, nothing reorders the line, right-to-left text stays as it is.

use std::borrow::Cow;
use std::path::Path;

use sealdesk_protocol::names::is_bidi_control;
use unicode_width::UnicodeWidthChar;

/// What a character is replaced by; none when it may stand.
fn replacement(c: char, lines: bool) -> Option<char> {
    match c {
        '\n' if lines => None,
        '\t' => Some(' '),
        // Control pictures: ESC becomes ␛, and so on.
        '\0'..='\u{1f}' => char::from_u32(0x2400 + c as u32),
        '\u{7f}' => Some('␡'),
        // C1 controls act as escape sequences in some terminals; line and paragraph separators break lines.
        '\u{80}'..='\u{9f}' | '\u{2028}' | '\u{2029}' => Some('\u{fffd}'),
        c if is_bidi_control(c) => Some('\u{fffd}'),
        // Invisible: could hide text or imitate an empty name. Joiners stay, scripts and emoji need them.
        '\u{200b}'
        | '\u{2060}'..='\u{2065}'
        | '\u{206a}'..='\u{206f}'
        | '\u{feff}'
        | '\u{fff9}'..='\u{fffb}'
        | '\u{e0000}'..='\u{e007f}' => Some('\u{fffd}'),
        _ => None,
    }
}

fn neutralise(text: &str, lines: bool) -> Cow<'_, str> {
    if text.chars().all(|c| replacement(c, lines).is_none()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.chars().map(|c| replacement(c, lines).unwrap_or(c)).collect())
}

/// One line: names, topics, file names.
pub fn line(text: &str) -> Cow<'_, str> {
    neutralise(text, false)
}

/// Text of several lines; the caller indents them.
pub fn text(text: &str) -> Cow<'_, str> {
    neutralise(text, true)
}

/// What a line that goes on begins with: only the program writes into the first columns.
const INDENT: &str = "      ";

/// Breaks lines that are wider than `columns`, so that nobody's text reaches the first column by its length. Escape
/// sequences, which are the program's own here, take no room; characters that some terminals draw wide count as wide.
pub fn wrap(text: &str, columns: usize) -> String {
    // A window too narrow for that shows what it can.
    let columns = columns.max(INDENT.len() * 4);
    let mut out = String::with_capacity(text.len());
    for (number, line) in text.split('\n').enumerate() {
        if number > 0 {
            out.push('\n');
        }
        wrap_line(&mut out, line, columns);
    }
    out
}

fn wrap_line(out: &mut String, line: &str, columns: usize) {
    let mut used = 0;
    let mut escape = false;
    for word in line.split_inclusive(' ') {
        let mut inside = escape;
        let width: usize = word.trim_end().chars().map(|c| room(c, &mut inside)).sum();
        if used > INDENT.len() && used + width > columns {
            used = go_on(out);
        }
        for c in word.chars() {
            let width = room(c, &mut escape);
            if used + width > columns {
                used = go_on(out);
            }
            out.push(c);
            used += width;
        }
    }
}

fn go_on(out: &mut String) -> usize {
    out.push('\n');
    out.push_str(INDENT);
    INDENT.len()
}

fn room(c: char, escape: &mut bool) -> usize {
    *escape |= c == '\u{1b}';
    let width = if *escape { 0 } else { c.width_cjk().unwrap_or(0) };
    *escape &= c != 'm';
    width
}

/// A file name that may be used in a folder: the last component, no control, bidi or separator characters, no leading
/// dot, no device name, nothing that a program would read as a flag, at most 200 bytes.
pub fn file_name(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let mut safe: String = last
        .chars()
        .map(|c| match c {
            c if replacement(c, false).is_some() || c == '\u{fffd}' => '_',
            ':' | '*' | '?' | '"' | '<' | '>' | '|' => '_',
            c => c,
        })
        .collect();
    safe = safe.trim_matches([' ', '.']).to_string();
    while safe.len() > 200 {
        // The ending says what it is; shorten in front of it.
        let keep = safe.rfind('.').filter(|at| safe.len() - at <= 16).unwrap_or(safe.len());
        let Some((at, _)) = safe[..keep].char_indices().next_back() else { break };
        safe.remove(at);
    }
    let stem = safe.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let device = matches!(stem.as_str(), "CON" | "PRN" | "AUX" | "NUL")
        || (stem.len() == 4 && (stem.starts_with("COM") || stem.starts_with("LPT")));
    match safe.as_str() {
        "" => "attachment".into(),
        _ if device || safe.starts_with('-') => format!("_{safe}"),
        _ => safe,
    }
}

/// A media type guessed from a file's ending, for the recipient's information.
pub fn media_type(path: &Path) -> &'static str {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "txt" | "log" | "md" => "text/plain",
        "csv" => "text/csv",
        "json" => "application/json",
        "pdf" => "application/pdf",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "gif" => "image/gif",
        "webp" => "image/webp",
        "zip" => "application/zip",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_reordering_do_nothing() {
        assert_eq!(line("\u{1b}[2J\u{1b}]0;x\u{7}a"), "␛[2J␛]0;x␇a");
        assert_eq!(line("a\u{9b}31mb\u{202e}c\u{2066}d\u{200f}"), "a\u{fffd}31mb\u{fffd}c\u{fffd}d\u{fffd}");
        assert_eq!(line("one\ntwo\r\tthree\u{8}"), "one␊two␍ three␈");
        assert_eq!(text("one\ntwo\r"), "one\ntwo␍");
        assert_eq!(line("a\u{200b}b\u{feff}\u{e0041}"), "a\u{fffd}b\u{fffd}\u{fffd}");
    }

    #[test]
    fn honest_text_stays() {
        for honest in
            ["مرحبا بالعالم", "שלום", "नमस्ते", "👩\u{200d}💻 👍🏽", "Ó Súilleabháin", "می\u{200c}خواهم"]
        {
            assert!(matches!(line(honest), Cow::Borrowed(t) if t == honest), "{honest}");
        }
    }

    #[test]
    fn a_long_line_never_reaches_the_first_column() {
        let forged =
            format!("[1] 14:05 Mira: hello{}[2] 14:05 Ben: Accepted. Send the code now.", " ".repeat(59));
        let double = "字".repeat(80);
        for said in
            [forged.as_str(), &double, &"x".repeat(300), "\u{1b}[1mMira\u{1b}[0m: a b", &"a ".repeat(200)]
        {
            let wrapped = wrap(said, 80);
            for (number, line) in wrapped.split('\n').enumerate() {
                assert!(number == 0 || line.starts_with(INDENT), "{line:?}");
                let mut escape = false;
                assert!(line.chars().map(|c| room(c, &mut escape)).sum::<usize>() <= 80, "{line:?}");
            }
            let whole = |text: &str| text.replace(['\n', ' '], "");
            assert_eq!(whole(&wrapped), whole(said), "nothing is lost");
        }
        assert_eq!(wrap("short\n      and indented", 80), "short\n      and indented");
        let words = wrap(&"seven77 ".repeat(11), 80);
        assert!(words.lines().all(|line| line.trim().split(' ').all(|word| word == "seven77")), "{words}");
        wrap(&double, 0);
    }

    #[test]
    fn file_names_are_safe_in_any_folder() {
        for (name, safe) in [
            ("report.pdf", "report.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\temp\\a.txt", "a.txt"),
            ("..", "attachment"),
            ("", "attachment"),
            (".bashrc", "bashrc"),
            ("a\u{202e}fdp.exe", "a_fdp.exe"),
            ("a\nb\u{1b}.txt", "a_b_.txt"),
            ("con.txt", "_con.txt"),
            ("-rf", "_-rf"),
            (".--checkpoint-action=exec", "_--checkpoint-action=exec"),
            ("a:b?.txt", "a_b_.txt"),
            ("تقرير.pdf", "تقرير.pdf"),
        ] {
            assert_eq!(file_name(name), safe, "{name:?}");
        }
        let long = file_name(&format!("{}.tar", "é".repeat(300)));
        assert!(long.len() <= 200 && long.ends_with("é.tar"), "{long}");
        assert!(file_name(&"x".repeat(5000)).len() <= 200);
    }
}
