//! Finds planted text in bytes, in every form in which a careless program might have written it.

use std::fs;
use std::path::Path;

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding};

/// A place where a canary was found.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Found {
    /// Which canary.
    pub name: String,
    /// How it was written.
    pub form: &'static str,
    /// In which file, or what the caller named.
    pub place: String,
}

#[derive(Debug)]
struct Needle {
    name: String,
    form: &'static str,
    bytes: Vec<u8>,
}

/// Planted texts that must not be found.
#[derive(Debug)]
pub struct Canaries {
    needles: Vec<Needle>,
    /// Needles by their first two bytes.
    table: Vec<Vec<u16>>,
}

impl Default for Canaries {
    fn default() -> Self {
        Self { needles: Vec::new(), table: vec![Vec::new(); 1 << 16] }
    }
}

/// Shortest canary, bytes: shorter ones turn up by chance.
const SHORTEST: usize = 8;

impl Canaries {
    /// Nothing planted yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plants a text.
    ///
    /// # Panics
    /// When it is so short that it would be found by chance.
    pub fn plant(&mut self, name: &str, text: &str) {
        self.plant_bytes(name, text.as_bytes());
        let utf16: Vec<u16> = text.encode_utf16().collect();
        self.add(name, "UTF-16, little-endian", utf16.iter().flat_map(|unit| unit.to_le_bytes()).collect());
        self.add(name, "UTF-16, big-endian", utf16.iter().flat_map(|unit| unit.to_be_bytes()).collect());
    }

    /// Plants bytes: as they are, in hex, and in base64 at each of the three alignments.
    ///
    /// # Panics
    /// When they are so few that they would be found by chance.
    pub fn plant_bytes(&mut self, name: &str, bytes: &[u8]) {
        assert!(bytes.len() >= SHORTEST, "{name} is too short for a canary");
        self.add(name, "as it is", bytes.to_vec());
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        self.add(name, "hex", hex.to_uppercase().into_bytes());
        self.add(name, "hex", hex.into_bytes());
        for skip in 0..3 {
            // The characters at both ends depend on the neighbours: whole groups of three bytes are searched for.
            let whole = &bytes[skip..skip + (bytes.len() - skip) / 3 * 3];
            self.add(name, "base64", Base64Unpadded::encode_string(whole).into_bytes());
            self.add(name, "base64url", Base64UrlUnpadded::encode_string(whole).into_bytes());
        }
        // Rust's and JSON's way of printing bytes.
        let list: Vec<String> = bytes.iter().map(ToString::to_string).collect();
        self.add(name, "list of numbers", list.join(", ").into_bytes());
        self.add(name, "list of numbers", list.join(",").into_bytes());
    }

    fn add(&mut self, name: &str, form: &'static str, bytes: Vec<u8>) {
        if self.needles.iter().any(|needle| needle.bytes == bytes) {
            return;
        }
        let at = u16::try_from(self.needles.len()).expect("fewer than 65,536 needles");
        self.table[slot(&bytes)].push(at);
        self.needles.push(Needle { name: name.into(), form, bytes });
    }

    /// Every canary in `haystack`, each form once.
    pub fn search(&self, place: &str, haystack: &[u8]) -> Vec<Found> {
        let mut found = Vec::new();
        for at in 0..haystack.len().saturating_sub(1) {
            for index in &self.table[slot(&haystack[at..])] {
                let needle = &self.needles[usize::from(*index)];
                if haystack[at..].starts_with(&needle.bytes) {
                    found.push(Found { name: needle.name.clone(), form: needle.form, place: place.into() });
                }
            }
        }
        found.sort();
        found.dedup();
        found
    }

    /// Every canary in the files of a folder and their names; how many bytes were searched.
    ///
    /// # Panics
    /// When the folder cannot be read.
    pub fn search_folder(&self, folder: &Path) -> (Vec<Found>, u64) {
        let (mut found, mut searched) = (Vec::new(), 0);
        for entry in fs::read_dir(folder).unwrap() {
            let entry = entry.unwrap();
            let place = entry.path().display().to_string();
            found.extend(self.search(&place, entry.file_name().as_encoded_bytes()));
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                let (inner, bytes) = self.search_folder(&entry.path());
                found.extend(inner);
                searched += bytes;
            } else if kind.is_file() {
                // A relay that runs removes files meanwhile.
                let bytes = match fs::read(entry.path()) {
                    Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                    read => read.unwrap(),
                };
                searched += bytes.len() as u64;
                found.extend(self.search(&place, &bytes));
            }
        }
        (found, searched)
    }
}

/// The first two bytes as an index.
fn slot(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "canary:Grüße-7391";

    fn planted() -> Canaries {
        let mut canaries = Canaries::new();
        canaries.plant("text", TEXT);
        canaries
    }

    #[test]
    fn every_form_is_found_between_other_bytes() {
        let canaries = planted();
        let utf16: Vec<u8> = TEXT.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let hex: String = TEXT.bytes().map(|byte| format!("{byte:02X}")).collect();
        let mut forms: Vec<Vec<u8>> = vec![TEXT.as_bytes().to_vec(), utf16, hex.into_bytes()];
        for before in ["", "x", "xy", "xyz"] {
            let text = format!("{before}{TEXT}, and more");
            forms.push(Base64Unpadded::encode_string(text.as_bytes()).into_bytes());
            forms.push(Base64UrlUnpadded::encode_string(text.as_bytes()).into_bytes());
        }
        forms.push(format!("{:?}", TEXT.as_bytes()).into_bytes());
        for (n, form) in forms.iter().enumerate() {
            let hay = [&[0, 255, 7][..], form, b"tail"].concat();
            assert!(!canaries.search("here", &hay).is_empty(), "form {n}");
        }
    }

    #[test]
    fn nothing_is_found_where_nothing_is() {
        let mut noise = vec![0; 200_000];
        rand_core::Rng::fill_bytes(&mut crate::device::random(), &mut noise);
        assert_eq!(planted().search("noise", &noise), []);
        assert_eq!(planted().search("almost", &TEXT.as_bytes()[..TEXT.len() - 1]), []);
        assert_eq!(planted().search("empty", &[]), []);
    }

    #[test]
    fn folders_are_searched_with_their_names() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        fs::create_dir_all(&inner).unwrap();
        fs::write(inner.join("file"), format!("..{TEXT}..")).unwrap();
        fs::write(folder.path().join(TEXT), "harmless").unwrap();
        let (found, searched) = planted().search_folder(folder.path());
        assert_eq!(found.len(), 2, "{found:?}");
        assert_eq!(searched, 12 + TEXT.len() as u64);
    }
}
