//! The operating system's randomness.

use getrandom::SysRng;
use getrandom::rand_core::UnwrapErr;

/// The system has no randomness to give. At fault: this machine (a sandbox without `getrandom`, usually).
#[derive(Debug, thiserror::Error)]
#[error("this machine gives no randomness: {0}")]
pub struct NoRandomness(getrandom::Error);

/// The generator for keys.
pub type SystemRng = UnwrapErr<SysRng>;

/// Draws once to see that there is randomness; afterwards the system call does not fail.
///
/// # Errors
/// [`NoRandomness`].
pub fn system() -> Result<SystemRng, NoRandomness> {
    getrandom::fill(&mut [0; 32]).map_err(NoRandomness)?;
    Ok(UnwrapErr(SysRng))
}
