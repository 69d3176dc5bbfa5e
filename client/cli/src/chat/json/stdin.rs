//! Lines of stdin, bounded, read on a thread of their own: a terminal or pipe cannot be read with a time limit.

use std::io::{self, BufRead, Read};

use tokio::sync::mpsc;

use super::input::MAX_LINE;

/// What came.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Came {
    Line(Vec<u8>),
    /// Longer than [`MAX_LINE`]; it was skipped.
    TooLong,
}

/// Reads until the end of input, then closes the channel.
pub(super) fn lines() -> mpsc::Receiver<Came> {
    let (lines, receiver) = mpsc::channel(64);
    // Not joined: it blocks in a read until the process ends.
    let _ = std::thread::Builder::new().name("sealdesk-stdin".into()).spawn(move || {
        let mut stdin = io::stdin().lock();
        while let Ok(Some(came)) = next(&mut stdin) {
            if came != Came::Line(Vec::new()) && lines.blocking_send(came).is_err() {
                return;
            }
        }
    });
    receiver
}

/// The next line without its end; none at the end of input.
fn next(reader: &mut impl BufRead) -> io::Result<Option<Came>> {
    let mut line = Vec::new();
    let limit = MAX_LINE as u64 + 1;
    if reader.by_ref().take(limit).read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
        return Ok(Some(Came::Line(line)));
    }
    if line.len() as u64 == limit {
        reader.skip_until(b'\n')?;
        return Ok(Some(Came::TooLong));
    }
    Ok(Some(Came::Line(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_the_last_needs_no_end() {
        let long = vec![b'x'; MAX_LINE + 5];
        let input = [b"one\r\n\n".as_slice(), &long, b"\ntwo"].concat();
        let mut reader = io::Cursor::new(input);
        let mut all = Vec::new();
        while let Some(came) = next(&mut reader).unwrap() {
            all.push(came);
        }
        let line = |text: &str| Came::Line(text.into());
        assert_eq!(all, [line("one"), line(""), Came::TooLong, line("two")]);
    }
}
