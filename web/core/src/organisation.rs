//! org.json: its fields as strings in, a verified organisation out.

use sealdesk_client::Problem;
use sealdesk_protocol::ids::RootHash;
use sealdesk_protocol::org::{Floor, OrgError, OrgFile, VerifiedOrg};
use sealdesk_protocol::wire::Fault;
use wasm_bindgen::JsValue;
use wasm_bindgen::prelude::wasm_bindgen;

use crate::object::{Fields, integer, list};
use crate::view;

/// An organisation whose org.json verified against the page's root hash.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Organisation(VerifiedOrg);

#[wasm_bindgen]
impl Organisation {
    /// Verifies org.json. `root` is the hash that the page was built for, in hex; `now` is ms since the Unix epoch.
    ///
    /// # Errors
    /// A problem object (web/src/worker/protocol.ts) that says which check failed.
    #[expect(clippy::too_many_arguments, reason = "the fields of org.json, one by one")]
    pub fn verify(
        root: &str,
        format: u32,
        claimed: String,
        pins: String,
        issuer: String,
        settings: String,
        revocations: Option<String>,
        now: f64,
    ) -> Result<Organisation, JsValue> {
        let root: RootHash = root.parse().map_err(|_| refusal(OrgError::Malformed))?;
        let file = OrgFile { sealdesk: format, root: claimed, pins, issuer, settings, revocations };
        // The vault holds the floor, and the engine compares with it when it opens.
        file.verify(&root, &Floor::default(), integer(now)).map(Self).map_err(refusal)
    }

    /// Whether the other one says the same.
    pub fn equals(&self, other: &Organisation) -> bool {
        self.0 == other.0
    }

    /// What the screen needs of it.
    #[wasm_bindgen(js_name = view)]
    pub fn to_view(&self) -> JsValue {
        let settings = self.0.settings();
        let topics = settings.topics.iter().map(|topic| {
            let names =
                topic.names.iter().fold(Fields::new(), |names, (tag, name)| names.with(tag, name.as_str()));
            Fields::new().with("id", topic.id.as_str()).with("names", names)
        });
        let notices = settings.notices.iter().map(|notice| {
            Fields::new()
                .with("language", notice.language.as_str())
                .with("text", notice.text.as_str())
                .with("hash", notice.hash().to_string())
        });
        Fields::new()
            .with("name", settings.name.as_str())
            .with("topics", list(topics))
            .with("notices", list(notices))
            .with("relays", list(settings.relay_urls.iter().map(String::as_str)))
            .into()
    }
}

impl Organisation {
    pub(crate) fn verified(&self) -> VerifiedOrg {
        self.0.clone()
    }
}

fn refusal(error: OrgError) -> JsValue {
    let (code, hint) = match error {
        OrgError::Malformed => {
            ("org_malformed", "Fetch the page again; tell the organisation if it stays like this.")
        }
        OrgError::WrongRoot => (
            "wrong_root",
            "Do not write here. Tell the organisation that page and org.json do not belong together.",
        ),
        OrgError::Signature | OrgError::RootChain => {
            ("org_signature", "Do not write here. Tell the organisation that org.json was altered.")
        }
        OrgError::Rollback | OrgError::LogDropped => {
            ("org_rollback", "Try again later; tell the organisation if it stays like this.")
        }
        OrgError::Issuer(_) => (
            "org_issuer",
            "Check this device's clock; the organisation may have to renew its issuer certificate.",
        ),
        _ => ("org_malformed", "Update this page."),
    };
    view::problem(&Problem { code, fault: Fault::Organisation, text: error.to_string(), hint: hint.into() })
}
