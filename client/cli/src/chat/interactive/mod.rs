//! Chat for people.

pub(super) async fn run(_session: super::Session) -> Result<(), crate::error::Error> {
    Ok(())
}
