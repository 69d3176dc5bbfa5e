//! Measuring on a machine that does other things too: ours and the peer take turns in short rounds, the order swaps
//! every time, and the median round counts. Both thus see the same noise.

use std::time::Instant;

/// How long a run may be.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    pub(crate) rounds: usize,
    /// Operations in one round are multiplied by this; 1 for a run that only proves that all works.
    pub(crate) scale: usize,
}

impl Effort {
    pub(crate) const FULL: Effort = Effort { rounds: 15, scale: 10 };
    pub(crate) const QUICK: Effort = Effort { rounds: 3, scale: 1 };
}

/// Medians of what the two measured, in their own unit.
pub(crate) fn interleave<E>(
    rounds: usize,
    mut ours: impl FnMut() -> Result<f64, E>,
    mut peer: impl FnMut() -> Result<f64, E>,
) -> Result<(f64, f64), E> {
    let (mut our_values, mut peer_values) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        if round % 2 == 0 {
            our_values.push(ours()?);
            peer_values.push(peer()?);
        } else {
            peer_values.push(peer()?);
            our_values.push(ours()?);
        }
    }
    Ok((median(our_values), median(peer_values)))
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Microseconds that one of `count` operations took.
pub(crate) fn micros_each<E>(count: usize, mut operation: impl FnMut() -> Result<(), E>) -> Result<f64, E> {
    let begin = Instant::now();
    for _ in 0..count {
        operation()?;
    }
    #[expect(clippy::cast_precision_loss, reason = "counts of operations are far below 2^52")]
    let count = count as f64;
    Ok(begin.elapsed().as_secs_f64() * 1e6 / count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_ignores_one_bad_round_and_both_sides_run_equally_often() {
        let (mut us, mut them) = (0.0, 0.0);
        let ours = || {
            us += 1.0;
            Ok::<f64, ()>(if us == 2.0 { 1e9 } else { us })
        };
        let peer = || {
            them += 1.0;
            Ok(them)
        };
        assert_eq!(interleave(3, ours, peer), Ok((3.0, 2.0)));
    }
}
