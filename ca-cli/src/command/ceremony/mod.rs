//! `ca-cli ceremony …`.

mod approve;
mod check_share;
mod new;
mod papers;
mod perform;

use crate::cli::ceremony::CeremonyCommand;
use crate::exit::Failure;
use crate::output::Report;

pub(super) fn run(command: &CeremonyCommand, no_input: bool) -> Result<Report, Failure> {
    match command {
        CeremonyCommand::New(arguments) => new::run(arguments),
        CeremonyCommand::Lint { plan, inputs, bytes } => papers::lint(plan, inputs, *bytes),
        CeremonyCommand::Rehearse(arguments) => perform::rehearse(arguments),
        CeremonyCommand::Approve(arguments) => approve::run(arguments, no_input),
        CeremonyCommand::CheckShare(arguments) => check_share::run(arguments, no_input),
        CeremonyCommand::Script { plan, html, rehearsal } => papers::script(plan, *html, *rehearsal),
        CeremonyCommand::Kit { plan, inputs, dir } => papers::kit(plan, inputs, dir),
        CeremonyCommand::Run(arguments) => perform::run(arguments),
        CeremonyCommand::Seal { dir, out, rehearsal } => perform::seal(dir, out.as_deref(), *rehearsal),
        CeremonyCommand::Verify { archive, rehearsal } => papers::verify(archive, *rehearsal),
        CeremonyCommand::Import { archive, to, rehearsal } => papers::import(archive, to, *rehearsal),
    }
}
