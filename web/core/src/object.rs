//! Building JavaScript objects.

use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::JsValue;

/// A plain object under construction.
#[derive(Debug)]
pub(crate) struct Fields(Object);

impl Fields {
    pub(crate) fn new() -> Self {
        Self(Object::new())
    }

    /// An object whose `type` tells which one it is.
    pub(crate) fn of(kind: &str) -> Self {
        Self::new().with("type", kind)
    }

    #[must_use]
    pub(crate) fn with(self, key: &str, value: impl Into<JsValue>) -> Self {
        // Setting a property of a fresh plain object does not fail.
        let _set = Reflect::set(&self.0, &JsValue::from_str(key), &value.into());
        self
    }
}

impl From<Fields> for JsValue {
    fn from(fields: Fields) -> Self {
        fields.0.into()
    }
}

/// The largest integer that JavaScript tells from its neighbours.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;
/// The latest time that a Date holds, ms since the Unix epoch.
const LATEST: u64 = 8_640_000_000_000_000;

/// Counters and sizes. The other side chooses some of them: what is above 2^53 - 1 becomes that.
pub(crate) fn number(value: u64) -> JsValue {
    at_most(MAX_SAFE_INTEGER, value).into()
}

/// ms since the Unix epoch. The other side chooses some of them: what no Date holds becomes the latest that one does.
pub(crate) fn time(value: u64) -> JsValue {
    at_most(LATEST, value).into()
}

#[expect(clippy::cast_precision_loss, reason = "no bound is above 2^53 - 1")]
fn at_most(bound: u64, value: u64) -> f64 {
    value.min(bound) as f64
}

/// A number that JavaScript handed over; negative ones and NaN become 0.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "`as` saturates, which is what is wanted"
)]
pub(crate) fn integer(value: f64) -> u64 {
    value as u64
}

pub(crate) fn bytes(value: &[u8]) -> JsValue {
    Uint8Array::from(value).into()
}

/// The value, or null.
pub(crate) fn or_null<T: Into<JsValue>>(value: Option<T>) -> JsValue {
    value.map_or(JsValue::NULL, Into::into)
}

pub(crate) fn list<T: Into<JsValue>>(items: impl IntoIterator<Item = T>) -> JsValue {
    let array = Array::new();
    for item in items {
        array.push(&item.into());
    }
    array.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_chooses_stays_within_what_javascript_can_tell_and_show() {
        assert_eq!(at_most(MAX_SAFE_INTEGER, u64::MAX), 9_007_199_254_740_991.0);
        assert_eq!(at_most(LATEST, u64::MAX), 8.64e15);
        for exact in [0, 1_764_000_000_000, LATEST] {
            assert_eq!(integer(at_most(LATEST, exact)), exact);
        }
    }
}
