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

/// Counters, times and sizes: all below 2^53.
#[expect(clippy::cast_precision_loss, reason = "milliseconds, bytes and counters stay below 2^53")]
pub(crate) fn number(value: u64) -> JsValue {
    JsValue::from_f64(value as f64)
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
