//! `agent enroll`: vault and keys on the agent's machine, a request, and the code to compare.

use sealdesk_client::Owner;
use sealdesk_native::private_file;
use sealdesk_native::{clock, random, vault};
use sealdesk_protocol::org::{Floor, OrgError};
use serde_json::json;

use crate::args::AgentEnroll;
use crate::display::line;
use crate::error::Error;
use crate::files::{self, InvitationFile, RequestFile};
use crate::home::{self, OpenVault};
use crate::terminal;

pub(super) fn run(args: &AgentEnroll) -> Result<(), Error> {
    let (file, signed) = InvitationFile::read(&args.invitation)?;
    let at = |source: OrgError| Error::InvitationOrg { path: args.invitation.clone(), source };
    let root = file.root.parse().map_err(|_| at(OrgError::Malformed))?;
    let org = file.org.verify(&root, &Floor::default(), clock::wall_ms()).map_err(at)?;
    let invitation = signed.verify(org.pins(), org.revocations(), clock::wall_ms())?;
    private_file::demand_absent(&args.out)?;
    let folder = home::path(&args.home, Owner::Agent)?;
    let open = if vault::exists(&folder) {
        // Enrolled before: the same device asks again.
        let open = home::open(&folder, args.home.passphrase_file.as_deref())?;
        if open.root != root {
            return Err(at(OrgError::WrongRoot));
        }
        open
    } else {
        let passphrase = terminal::new_passphrase(
            args.home.passphrase_file.as_deref(),
            "the agent's vault",
            "--passphrase-file",
        )?;
        let (vault, key) = vault::create(&folder, &root, Some(&passphrase), &mut random::system()?)?;
        OpenVault { vault, key, root }
    };
    home::keep(&folder, &file.org)?;
    let desk = home::desk(open, org, Owner::Agent)?;
    let not_an_agent = || Error::usage("this home is a customer's", "Choose another --home.");
    let enrolment = desk
        .engine()
        .enrolment(&invitation.agent, signed.hash(), clock::wall_ms())
        .ok_or_else(not_an_agent)?;
    files::write_new(&args.out, &RequestFile::new(invitation.agent.clone(), &enrolment.signed))?;
    let code = enrolment.request.code();
    if args.json {
        let device = enrolment.request.device.hash().to_string();
        let line =
            json!({"agent": invitation.agent, "code": code, "device": device, "root": root.to_string()});
        return terminal::out(&line.to_string());
    }
    terminal::out(&format!(
        "Keys made for {} ({}) at \"{}\".\n\nComparison code:  {code}\n\n\
         Send {} to your administrator, and read the code out in person or by telephone.\n\
         When you get the certificate: sealdesk agent install --home {} --certificate FILE",
        line(&invitation.display_name),
        invitation.agent,
        line(&desk.engine().org().settings().name),
        args.out.display(),
        folder.display(),
    ))
}
