//! The engine: what goes in, what comes out, and the rules between.

mod input;
mod output;

pub use input::*;
pub use output::*;
