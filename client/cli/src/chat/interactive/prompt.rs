//! The prompt names the conversation to which the line below it goes.
//!
//! 1. The chat says which conversation is selected. The editor draws that whenever it draws a line on which nothing is typed.
//! 2. A line belongs to the conversation that was drawn when its first character came, and is drawn with it until it is sent
//!    or empty again, whatever is selected meanwhile.
//! 3. With the line comes to whom it was begun ([`Begun`]); the chat sends it to nobody else.
//! 4. What is typed between two lines counts for the next one only if that goes to whom the one before went
//!    ([`Prompt::begin`]), and never as the answer to a question.
//!
//! The editor measures a prompt once for each line, so all that may be drawn for one line are equally wide.

use std::borrow::Cow;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use sealdesk_protocol::ids::ConversationId;

/// A selected conversation, with its number.
pub(super) type Selected = (ConversationId, usize);

/// To whom a line was begun: nobody, when no conversation was selected. None where no prompt was drawn.
pub(super) type Begun = Option<Option<ConversationId>>;

#[derive(Default)]
struct Line {
    selected: Option<Selected>,
    /// Digits that have room in the prompt; without, it names no conversation.
    digits: Option<usize>,
    /// What the prompt on the screen names, or named before a question.
    drawn: Option<Selected>,
    /// For whom the line was begun that is being typed; none as long as it is empty.
    begun: Option<Option<Selected>>,
    /// What is asked instead.
    question: Option<&'static str>,
}

/// Shared by the chat and the editor.
#[derive(Clone, Default)]
pub(super) struct Prompt(Arc<Mutex<Line>>);

impl Prompt {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// This conversation is selected from now on; the next drawing shows it.
    pub(super) fn select(&self, selected: Option<Selected>) {
        self.line().selected = selected;
    }

    /// A new line: its prompt, with room for so many digits, and whether it names another than the one before.
    pub(super) fn begin(&self, digits: Option<usize>) -> (String, bool) {
        let mut line = self.line();
        let before = line.drawn;
        (line.digits, line.begun, line.question) = (digits, None, None);
        let prompt = line.draw();
        (prompt, line.drawn != before)
    }

    /// The line answers a question and goes to nobody, whatever is selected meanwhile.
    pub(super) fn question(&self, question: &'static str) -> String {
        let mut line = self.line();
        (line.begun, line.question) = (None, Some(question));
        line.draw()
    }

    /// The line has ended: to whom it was begun.
    pub(super) fn take(&self) -> Begun {
        self.line().begun.take().map(|to| to.map(|(id, _)| id))
    }
}

impl Line {
    fn draw(&mut self) -> String {
        if let Some(question) = self.question {
            return question.into();
        }
        self.drawn = self.begun.unwrap_or(self.selected);
        let Some(digits) = self.digits else { return "> ".into() };
        let number = self.drawn.map(|(_, number)| number.to_string()).unwrap_or_default();
        match number.len().saturating_sub(digits) {
            0 => format!("[{number:>digits$}] > "),
            1 => format!("[{number}]> "),
            2 => format!("[{number}]>"),
            // Not drawn, so that nothing is begun for it.
            _ => {
                self.drawn = None;
                format!("[{:>digits$}] > ", "")
            }
        }
    }

    /// The line holds this now.
    fn holds(&mut self, text: &str) {
        if text.is_empty() {
            self.begun = None;
        } else {
            self.begun.get_or_insert(self.drawn);
        }
    }
}

impl Highlighter for Prompt {
    fn highlight_prompt<'b, 's: 'b, 'p: 'b>(&'s self, prompt: &'p str, default: bool) -> Cow<'b, str> {
        // Not the one of a search in the history.
        if default { self.line().draw().into() } else { prompt.into() }
    }
}

impl Hinter for Prompt {
    type Hint = String;

    /// Called at every change of the line, before it is drawn.
    fn hint(&self, line: &str, _: usize, _: &Context<'_>) -> Option<String> {
        self.line().holds(line);
        None
    }
}

impl Completer for Prompt {
    type Candidate = String;
}

impl Validator for Prompt {}

impl Helper for Prompt {}

#[cfg(test)]
mod tests {
    use super::*;

    const CARLA: Selected = (ConversationId([1; 32]), 9);
    const DORA: Selected = (ConversationId([2; 32]), 10);

    #[test]
    fn a_line_belongs_to_the_conversation_below_whose_prompt_it_was_begun() {
        let prompt = Prompt::default();
        prompt.select(Some(CARLA));
        assert_eq!(prompt.begin(Some(1)), ("[9] > ".into(), true));
        prompt.line().holds("h");
        prompt.select(Some(DORA));
        assert_eq!(prompt.line().draw(), "[9] > ", "while it is typed");
        prompt.line().holds("he");
        assert_eq!(prompt.take(), Some(Some(CARLA.0)));

        assert_eq!(
            prompt.begin(Some(1)),
            ("[10]> ".into(), true),
            "what was typed before was not meant for her"
        );
        prompt.select(Some(CARLA));
        prompt.line().holds("h");
        assert_eq!(prompt.take(), Some(Some(DORA.0)), "selected, but not drawn yet");

        prompt.begin(Some(1));
        prompt.line().holds("h");
        prompt.line().holds("");
        prompt.select(Some(DORA));
        assert_eq!(prompt.line().draw(), "[10]> ", "nothing is typed, and it is as wide as before");
        prompt.line().holds("h");
        assert_eq!(prompt.take(), Some(Some(DORA.0)));
        assert_eq!(prompt.take(), None);
    }

    #[test]
    fn a_question_names_nobody_and_the_next_line_does_again() {
        let prompt = Prompt::default();
        prompt.select(Some(CARLA));
        prompt.begin(Some(2));
        assert_eq!(prompt.question("Close it? "), "Close it? ");
        prompt.select(Some(DORA));
        assert_eq!(prompt.line().draw(), "Close it? ");
        prompt.line().holds("y");
        assert_eq!(prompt.begin(Some(2)), ("[10] > ".into(), true));
        prompt.question("Close it? ");
        assert_eq!(prompt.begin(Some(2)), ("[10] > ".into(), false));
    }

    #[test]
    fn all_prompts_of_a_line_are_equally_wide_and_none_stands_for_another() {
        let prompt = Prompt::default();
        for digits in 1..4 {
            let wide = prompt.begin(Some(digits)).0.len();
            for number in [1, 10, 100, 1_000, 10_000, 1_000_000] {
                prompt.select(Some((CARLA.0, number)));
                let drawn = prompt.line().draw();
                assert_eq!(drawn.len(), wide, "{drawn}");
                assert_eq!(drawn.contains(&number.to_string()), prompt.line().drawn.is_some(), "{drawn}");
            }
        }
    }
}
