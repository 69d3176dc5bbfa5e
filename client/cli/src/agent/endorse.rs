//! `agent endorse`: a device that an agent uses already signs for a further one of the same agent, so that customers are
//! not shown a new device. The new device's request comes in, an endorsement for the administrator goes out.

use sealdesk_client::Owner;
use sealdesk_protocol::enrolment::EnrolmentRequest;

use super::approve::{Compared, compare};
use crate::args::AgentEndorse;
use crate::error::{Error, Exit};
use crate::files::{self, EndorsementFile, RequestFile};
use crate::home::{self, When};
use crate::terminal;

pub(super) fn run(args: &AgentEndorse) -> Result<(), Error> {
    sealdesk_native::private_file::demand_absent(&args.out)?;
    let request = EnrolmentRequest::verify(&RequestFile::read(&args.request)?)?;
    let folder = home::path(&args.home, Owner::Agent)?;
    let open = home::open(&folder, args.home.passphrase_file.as_deref())?;
    let org = home::org(&folder, &open.root, None, When::Now)?;
    let desk = home::desk(open, org, Owner::Agent)?;
    let ask = "Type the code that the new device shows.";
    compare(&request, &Compared { code: args.code.as_deref(), unchecked: args.unchecked, ask })?;
    let endorsement =
        desk.engine().endorse(&request).map_err(|problem| Error::Problem(problem, Exit::Untrusted))?;
    files::write_new(&args.out, &EndorsementFile::new(request.agent.clone(), &endorsement))?;
    terminal::out(&format!(
        "This device vouches for the new one of {}, in {}.\n\
         The administrator gives it to `sealdesk agent approve --request FILE --endorsement FILE`.",
        request.agent,
        args.out.display(),
    ))
}
