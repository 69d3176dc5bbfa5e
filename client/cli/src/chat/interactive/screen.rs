//! The terminal: a line editor whose prompt stays below what is printed; plain lines when there is no terminal.

use std::io::{self, BufRead, IsTerminal, Write};

use rustyline::error::ReadlineError;
use rustyline::history::DefaultHistory;
use rustyline::{ColorMode, Config, Editor, ExternalPrinter};
use tokio::sync::mpsc;

use super::prompt::{Begun, Prompt, Selected};
use crate::display::wrap;
use crate::error::Error;

/// What came from the keyboard.
#[derive(Debug)]
pub(super) enum Key {
    Line {
        text: String,
        begun: Begun,
    },
    /// Ctrl-C or Ctrl-D, or the end of a pipe.
    End,
}

/// What the editor asks for next.
enum Ask {
    /// A line, after a prompt with room for so many digits, or none.
    Line(Option<usize>),
    /// The answer to a question that was printed.
    Answer(&'static str),
}

enum Printer {
    Editor(Box<dyn ExternalPrinter + Send>),
    Plain,
}

/// Where chats are printed.
pub(super) struct Screen {
    printer: Printer,
    colours: bool,
    /// The editor reads its next line when it is told to: a line that ends the chat leaves the terminal as it was.
    go: std::sync::mpsc::Sender<Ask>,
    prompt: Prompt,
    #[cfg(unix)]
    _before: Option<restore::Before>,
}

/// The terminal's modes. Between two lines it echoes nothing: the editor draws what was typed then. They are put back however
/// the chat ends: the editor may be in the middle of a line then.
#[cfg(unix)]
mod restore {
    use std::io::{self, Write};

    use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};

    pub(super) struct Before(Termios);

    impl Before {
        pub(super) fn quiet() -> Option<Self> {
            let before = tcgetattr(io::stdin()).ok()?;
            let mut quiet = before.clone();
            quiet.local_modes -= LocalModes::ECHO | LocalModes::ICANON;
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &quiet);
            Some(Self(before))
        }
    }

    impl Drop for Before {
        fn drop(&mut self) {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
            // The editor's bracketed paste and synchronised output.
            let _ = write!(io::stdout(), "\u{1b}[?2004l\u{1b}[?2026l\r").and_then(|()| io::stdout().flush());
        }
    }
}

/// Styles, off without colours.
#[derive(Clone, Copy, Debug)]
pub(super) enum Style {
    Plain,
    Name,
    Faint,
    Warning,
}

impl Screen {
    /// Takes the terminal and reads lines until the end.
    pub(super) fn open() -> Result<(Self, mpsc::Receiver<Key>), Error> {
        let (keys, receiver) = mpsc::channel(16);
        let (go, next) = std::sync::mpsc::channel();
        let (colours, prompt) = (crate::chat::colours(), Prompt::default());
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            spawn(move || plain(&keys))?;
            let plain = Self {
                printer: Printer::Plain,
                colours,
                go,
                prompt,
                #[cfg(unix)]
                _before: None,
            };
            return Ok((plain, receiver));
        }
        #[cfg(unix)]
        let before = restore::Before::quiet();
        let failed = |error: ReadlineError| Error::Terminal(io::Error::other(error));
        let config = Config::builder().max_history_size(100).map_err(failed)?;
        // Not for colours: without it the editor would draw the prompt that it was given at first.
        let config = config.color_mode(ColorMode::Forced).build();
        let mut editor = Editor::<Prompt, DefaultHistory>::with_config(config).map_err(failed)?;
        editor.set_helper(Some(prompt.clone()));
        let drawn = prompt.clone();
        let printer = editor.create_external_printer().map_err(failed)?;
        spawn(move || {
            while let Ok(ask) = next.recv() {
                let (prompt, another) = match ask {
                    Ask::Line(digits) => drawn.begin(digits),
                    Ask::Answer(question) => (drawn.question(question), true),
                };
                if another {
                    forget_typed();
                }
                let key = match editor.readline(&prompt) {
                    Ok(text) => {
                        // Lines only: a "yes" that the arrow brings back would be sent.
                        if matches!(ask, Ask::Line(_)) {
                            let _ = editor.add_history_entry(text.as_str());
                        }
                        Key::Line { text, begun: drawn.take() }
                    }
                    Err(_) => Key::End,
                };
                let end = matches!(key, Key::End);
                if keys.blocking_send(key).is_err() || end {
                    return;
                }
            }
        })?;
        let screen = Self {
            printer: Printer::Editor(Box::new(printer)),
            colours,
            go,
            prompt,
            #[cfg(unix)]
            _before: before,
        };
        Ok((screen, receiver))
    }

    /// The next line may be typed, after a prompt that names the selected conversation by so many digits, or none.
    pub(super) fn next(&self, digits: Option<usize>) {
        let _ = self.go.send(Ask::Line(digits));
    }

    /// The next line answers a question that was printed; only what is typed from now on counts.
    pub(super) fn ask(&self, question: &'static str) {
        let _ = self.go.send(Ask::Answer(question));
    }

    /// Whether somebody can be asked.
    pub(super) fn can_ask(&self) -> bool {
        matches!(self.printer, Printer::Editor(_))
    }

    /// What the prompt names, from the next that is printed on.
    pub(super) fn select(&self, selected: Option<Selected>) {
        self.prompt.select(selected);
    }

    /// Text in a style, for a line to print.
    pub(super) fn styled(&self, text: &str, style: Style) -> String {
        let code = match style {
            _ if !self.colours => return text.into(),
            Style::Plain => return text.into(),
            Style::Name => "1",
            Style::Faint => "2",
            Style::Warning => "1;33",
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Prints lines above the prompt. Other people's text in it has been neutralised.
    pub(super) fn print(&mut self, text: &str) -> Result<(), Error> {
        match &mut self.printer {
            Printer::Editor(printer) => {
                let text = wrap(text, columns());
                printer.print(format!("{text}\n")).map_err(|e| Error::Terminal(io::Error::other(e)))
            }
            Printer::Plain => {
                let mut out = io::stdout().lock();
                writeln!(out, "{text}").and_then(|()| out.flush()).map_err(Error::Terminal)
            }
        }
    }

    /// Prints in one style.
    pub(super) fn say(&mut self, text: &str, style: Style) -> Result<(), Error> {
        let text = self.styled(text, style);
        self.print(&text)
    }
}

/// Of the window, which may change at any time.
fn columns() -> usize {
    #[cfg(unix)]
    if let Ok(size) = rustix::termios::tcgetwinsize(io::stdout())
        && size.ws_col > 0
    {
        return size.ws_col.into();
    }
    80
}

/// What was typed between two lines was not meant for this one.
fn forget_typed() {
    #[cfg(unix)]
    let _ = rustix::termios::tcflush(io::stdin(), rustix::termios::QueueSelector::IFlush);
}

fn spawn(read: impl FnOnce() + Send + 'static) -> Result<(), Error> {
    // Not joined: it blocks in a read until the process ends.
    std::thread::Builder::new().name("sealdesk-keys".into()).spawn(read).map(drop).map_err(Error::Terminal)
}

fn plain(keys: &mpsc::Sender<Key>) {
    let mut stdin = io::stdin().lock();
    loop {
        let mut bytes = Vec::new();
        let key = match stdin.read_until(b'\n', &mut bytes) {
            Ok(0) | Err(_) => Key::End,
            Ok(_) => Key::Line { text: String::from_utf8_lossy(&bytes).into_owned(), begun: None },
        };
        let end = matches!(key, Key::End);
        if keys.blocking_send(key).is_err() || end {
            return;
        }
    }
}
