//! Chat for programs: JSON lines on stdin and stdout, a stable interface (docs/cli.md).

mod input;
mod output;
mod requests;
mod run;
mod stdin;
mod tell;

pub use input::{Line, MAX_LINE, Request, parse};
pub(crate) use output::{error, line, message, notices, phase, receipt, role, state, topics, verified};
pub(crate) use run::run;
