//! The engine as the worker drives it (contract in web/src/worker/driver.ts):
//! queue inputs, [`Core::step`], commit the writes, perform the outputs.

use getrandom::SysRng;
use rand_core::UnwrapErr;
use sealdesk_client::{
    Command, Engine, FileBytes, Input, Name, Now, Output, Owner, Part, Row, Step, VaultKey, Write,
};
use sealdesk_protocol::conversation::MessageId;
use sealdesk_protocol::conversation::content::{Kind, Text};
use sealdesk_protocol::ids::{BlobId, IdError};
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;
use zeroize::Zeroize;

use crate::object::{Fields, bytes, integer, list, number, or_null};
use crate::organisation::Organisation;
use crate::view;

/// Sealed records on their way into the core.
#[wasm_bindgen]
#[derive(Debug, Default)]
pub struct Rows(Vec<Row>);

#[wasm_bindgen]
impl Rows {
    /// None yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a record; a name of the wrong length is no record of ours and is left out.
    pub fn add(&mut self, name: &[u8], sealed: Vec<u8>) {
        if let Ok(name) = name.try_into() {
            self.0.push(Row { name: Name(name), sealed });
        }
    }
}

/// The engine of one vault.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Core {
    engine: Engine,
    /// What creating or opening decided; the first call of [`Self::step`] hands it out.
    first: Option<Step>,
    inputs: Vec<Input>,
}

#[wasm_bindgen]
impl Core {
    /// A customer's new vault. `key`: 32 random bytes, wiped in the caller's array too. `wall`: ms since the Unix epoch,
    /// `mono`: ms since any start.
    ///
    /// # Errors
    /// A text when the key has not 32 bytes; at fault: the caller.
    pub fn create(
        key: &mut [u8],
        organisation: &Organisation,
        wall: f64,
        mono: f64,
    ) -> Result<Core, JsValue> {
        let key = vault_key(key)?;
        let mut rng = UnwrapErr(SysRng);
        let (engine, first) =
            Engine::create(key, Owner::Customer, organisation.verified(), now(wall, mono), &mut rng);
        Ok(Self { engine, first: Some(first), inputs: Vec::new() })
    }

    /// An existing vault from its hot records.
    ///
    /// # Errors
    /// A problem object: the vault is damaged, foreign, or of a newer version.
    pub fn open(
        key: &mut [u8],
        organisation: &Organisation,
        hot: Rows,
        wall: f64,
        mono: f64,
    ) -> Result<Core, JsValue> {
        let key = vault_key(key)?;
        let (engine, first) = Engine::open(key, organisation.verified(), &hot.0, now(wall, mono))
            .map_err(|error| view::corrupt(&error))?;
        Ok(Self { engine, first: Some(first), inputs: Vec::new() })
    }

    /// Whether the record of this name is read at opening; the others are read page by page.
    #[wasm_bindgen(js_name = isHot)]
    pub fn is_hot(kind: u8) -> bool {
        sealdesk_client::is_hot(kind)
    }

    /// Every conversation of this vault.
    pub fn conversations(&self) -> JsValue {
        list(self.engine.conversations().iter().map(view::conversation))
    }

    /// Attachments whose bytes in the spool are still needed. Sealing and downloading live in memory, so that after an
    /// opening these are the uploads.
    pub fn spools(&self) -> JsValue {
        list(self.engine.spools().iter().map(|transfer| JsValue::from(transfer.to_string())))
    }

    /// Takes the queued inputs and decides:
    /// `{writes: [name, sealed or null][], generation, outputs: [..], wakeAt: ms or null}`.
    pub fn step(&mut self, wall: f64, mono: f64) -> JsValue {
        let step = match self.first.take() {
            Some(first) => first,
            None => {
                let inputs = core::mem::take(&mut self.inputs);
                self.engine.step(now(wall, mono), &mut UnwrapErr(SysRng), inputs)
            }
        };
        let writes = step.persist.writes.iter().map(|write| match write {
            Write::Put(row) => list([bytes(&row.name.0), bytes(&row.sealed)]),
            Write::Delete(name) => list([bytes(&name.0), JsValue::NULL]),
        });
        Fields::new()
            .with("writes", list(writes))
            .with("generation", number(step.persist.generation))
            .with("outputs", list(step.then.iter().filter_map(output)))
            .with("wakeAt", or_null(step.wake_at.map(number)))
            .into()
    }

    /// `wakeAt` has passed.
    pub fn tick(&mut self) {
        self.inputs.push(Input::Tick);
    }

    /// Connection `n` stands.
    pub fn opened(&mut self, n: u32) {
        self.inputs.push(Input::Opened(n));
    }

    /// One binary message on connection `n`.
    pub fn frame(&mut self, n: u32, bytes: Vec<u8>) {
        self.inputs.push(Input::Frame(n, bytes));
    }

    /// Connection `n` ended or could not be made.
    pub fn closed(&mut self, n: u32) {
        self.inputs.push(Input::Closed(n));
    }

    /// What the browser says of the network.
    pub fn online(&mut self, online: bool) {
        self.inputs.push(Input::Online(online));
    }

    /// Bytes that a `read` output asked for.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    pub fn chunk(&mut self, transfer: &str, file: bool, offset: f64, bytes: Vec<u8>) -> Result<(), JsValue> {
        let transfer = id(transfer)?;
        let bytes = FileBytes(bytes);
        self.inputs.push(Input::Chunk { transfer, part: part(file), offset: integer(offset), bytes });
        Ok(())
    }

    /// Bytes of a `write` output are durable.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = chunkStored)]
    pub fn chunk_stored(&mut self, transfer: &str, file: bool, offset: f64) -> Result<(), JsValue> {
        let transfer = id(transfer)?;
        self.inputs.push(Input::ChunkStored { transfer, part: part(file), offset: integer(offset) });
        Ok(())
    }

    /// Bytes could not be read or written.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = chunkFailed)]
    pub fn chunk_failed(&mut self, transfer: &str, file: bool) -> Result<(), JsValue> {
        let transfer = id(transfer)?;
        self.inputs.push(Input::ChunkFailed { transfer, part: part(file) });
        Ok(())
    }

    /// Agree to the notice and open a conversation.
    ///
    /// # Errors
    /// A text when an id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = openConversation)]
    pub fn open_conversation(
        &mut self,
        command: f64,
        topic: &str,
        language: String,
        notice: &str,
    ) -> Result<(), JsValue> {
        let (topic, notice) = (id(topic)?, id(notice)?);
        self.user(command, Command::Open { topic, language, notice });
        Ok(())
    }

    /// Send a text.
    ///
    /// # Errors
    /// A text when an id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = sendText)]
    pub fn send_text(&mut self, command: f64, conversation: &str, text: String) -> Result<(), JsValue> {
        let conversation = id(conversation)?;
        self.user(command, Command::Send { conversation, kind: Kind::Text(Text(text)) });
        Ok(())
    }

    /// Send a file of `length` bytes; `read` outputs ask for them.
    ///
    /// # Errors
    /// A text when an id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = sendFile)]
    pub fn send_file(
        &mut self,
        command: f64,
        conversation: &str,
        transfer: &str,
        name: String,
        media_type: String,
        length: f64,
    ) -> Result<(), JsValue> {
        let (conversation, transfer) = (id(conversation)?, id(transfer)?);
        let length = integer(length);
        self.user(
            command,
            Command::SendFile { conversation, name: Text(name), media_type, length, transfer },
        );
        Ok(())
    }

    /// Fetch, check and open an attachment; `write` outputs bring its bytes.
    ///
    /// # Errors
    /// A text when an id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = saveFile)]
    pub fn save_file(
        &mut self,
        command: f64,
        conversation: &str,
        device: &str,
        counter: f64,
    ) -> Result<(), JsValue> {
        let conversation = id(conversation)?;
        let message = MessageId { device: id(device)?, counter: integer(counter) };
        self.user(command, Command::SaveFile { conversation, message });
        Ok(())
    }

    /// End a conversation.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    pub fn close(&mut self, command: f64, conversation: &str) -> Result<(), JsValue> {
        let conversation = id(conversation)?;
        self.user(command, Command::Close { conversation });
        Ok(())
    }

    /// Destroy a conversation's key and records in this vault.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    pub fn forget(&mut self, command: f64, conversation: &str) -> Result<(), JsValue> {
        let conversation = id(conversation)?;
        self.user(command, Command::Delete { conversation });
        Ok(())
    }

    /// Agree to a further reassignment.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = allowReassignment)]
    pub fn allow_reassignment(&mut self, command: f64, conversation: &str) -> Result<(), JsValue> {
        let conversation = id(conversation)?;
        self.user(command, Command::AllowReassignment { conversation });
        Ok(())
    }

    /// Typing started or stopped.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    pub fn typing(&mut self, command: f64, conversation: &str, on: bool) -> Result<(), JsValue> {
        let conversation = id(conversation)?;
        self.user(command, Command::Typing { conversation, on });
        Ok(())
    }

    /// The screen showed the peer's messages up to this counter.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = markRead)]
    pub fn mark_read(&mut self, command: f64, conversation: &str, counter: f64) -> Result<(), JsValue> {
        let (conversation, counter) = (id(conversation)?, integer(counter));
        self.user(command, Command::MarkRead { conversation, counter });
        Ok(())
    }

    /// Names of the records of the transcript before `before`, at most `limit`.
    ///
    /// # Errors
    /// A text when the id is malformed; at fault: the caller.
    #[wasm_bindgen(js_name = pageNames)]
    pub fn page_names(&self, conversation: &str, before: f64, limit: u16) -> Result<JsValue, JsValue> {
        let names = self.engine.page_names(&id(conversation)?, integer(before), limit);
        Ok(list(names.iter().map(|name| bytes(&name.0))))
    }

    /// Opens records of the transcript.
    ///
    /// # Errors
    /// A problem object when a record is damaged.
    pub fn page(&self, rows: Rows) -> Result<JsValue, JsValue> {
        let messages = self.engine.page(&rows.0).map_err(|error| view::corrupt(&error))?;
        Ok(list(messages.iter().map(view::message)))
    }

    /// org.json as fetched again.
    #[wasm_bindgen(js_name = updateOrg)]
    pub fn update_org(&mut self, command: f64, organisation: &Organisation) {
        let org = Box::new(organisation.verified());
        self.user(command, Command::UpdateOrg { org });
    }

    fn user(&mut self, command_id: f64, command: Command) {
        self.inputs.push(Input::User { id: integer(command_id), command });
    }
}

fn now(wall: f64, mono: f64) -> Now {
    Now { wall_ms: integer(wall), mono_ms: integer(mono) }
}

/// Takes the key and wipes the array that it came in, which wasm-bindgen copies back to the caller's.
fn vault_key(from: &mut [u8]) -> Result<VaultKey, JsValue> {
    let key = <[u8; 32]>::try_from(&*from).map(VaultKey::new);
    from.zeroize();
    key.map_err(|_| JsValue::from_str("the vault key has 32 bytes"))
}

fn id<T: core::str::FromStr<Err = IdError>>(text: &str) -> Result<T, JsValue> {
    text.parse().map_err(|error: IdError| JsValue::from_str(&error.to_string()))
}

const fn part(file: bool) -> Part {
    if file { Part::File } else { Part::Spool }
}

/// An output as an object whose `do` tells what to do.
fn output(output: &Output) -> Option<JsValue> {
    let of = |name: &str| Fields::new().with("do", name);
    let at = |name: &str, transfer: &BlobId, part: Part, offset: u64| {
        of(name)
            .with("transfer", transfer.to_string())
            .with("file", part == Part::File)
            .with("offset", number(offset))
    };
    let fields = match output {
        Output::Connect(n) => of("connect").with("n", *n),
        Output::Send(n, frame) => of("send").with("n", *n).with("bytes", bytes(frame)),
        Output::Disconnect(n) => of("disconnect").with("n", *n),
        Output::ReadChunk { transfer, part, offset, len } => {
            at("read", transfer, *part, *offset).with("length", *len)
        }
        Output::WriteChunk { transfer, part, offset, bytes: FileBytes(data) } => {
            at("write", transfer, *part, *offset).with("bytes", bytes(data))
        }
        Output::DropSpool(transfer) => of("drop").with("transfer", transfer.to_string()),
        Output::Event(event) => of("event").with("event", view::event(event)?),
    };
    Some(fields.into())
}
