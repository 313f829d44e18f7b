//! `ca-server --config FILE [--check]`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use failpoint::{Point, reach};
use tokio::signal::unix::{SignalKind, signal};
use wire::Exit;

use crate::config::Config;
use crate::flow::ledger::advance;
use crate::flow::ocsp::{DelegateFault, renew};
use crate::flow::recover::{Which, recover};
use crate::house::{House, LedgerFault, StartError, open_keys};
use crate::http::{Addresses, Manners, Serving, acceptor};
use crate::jobs::Jobs;
use crate::process;

/// How long the end of the process waits for its workers to let go of the signer.
const LEAVING: Duration = Duration::from_secs(5);

/// The online certificate authority of Holdfast.
#[derive(Debug, clap::Parser)]
#[command(version, after_help = exit_codes())]
pub struct Cli {
    /// Configuration file (TOML).
    #[arg(long, value_name = "FILE", env = "CA_SERVER_CONFIG")]
    config: PathBuf,
    /// Read the configuration and every file it names, log in to the token, find the key, and stop.
    #[arg(long)]
    check: bool,
}

/// The ones this program ends with.
fn exit_codes() -> String {
    Exit::table(&[Exit::Done, Exit::Failed, Exit::Usage, Exit::TryAgain, Exit::Refuses])
}

/// Run. Standard output gets one line when the server listens, or the findings of `--check`; standard error the log.
#[must_use]
pub fn run(cli: &Cli) -> ExitCode {
    match start(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "ca-server: {error}");
            error.exit().into()
        }
    }
}

fn start(cli: &Cli) -> Result<(), StartError> {
    let memory = process::harden().map_err(StartError::Refused)?;
    let config = Config::load(&cli.config)?;
    process::log(config.log);
    process::tell(memory);
    if cli.check {
        return check(&config);
    }
    serve(config)
}

fn check(config: &Config) -> Result<(), StartError> {
    let mut out = std::io::stdout().lock();
    let mut say = |what: String| {
        let _ = writeln!(out, "ok  {what}");
    };
    say(format!("configuration of \"{}\"", config.server.name));
    acceptor(&config.tls).map_err(|e| StartError::Other(format!("TLS: {e}")))?;
    say("TLS certificate and key belong together".to_owned());
    say(format!(
        "issuing CA: {} certificates to the root",
        config.issuer.chain().len()
    ));
    say("anchors".to_owned());
    let profiles: Vec<&str> = config.profiles.iter().map(|profile| profile.name()).collect();
    say(format!("profiles: {}", profiles.join(", ")));
    say(format!("policy sha256 {}", hex::encode(config.policy.sha256())));
    crate::house::AuditFile::new(config.audit.clone())
        .check()
        .map_err(|e| StartError::Refused(format!("the audit file cannot be written: {e}")))?;
    say("audit file".to_owned());
    let (key, responder) = open_keys(config)?;
    issuance::probe(key.as_ref()).map_err(|e| StartError::Refused(e.to_string()))?;
    say("the token's key is the issuing CA's, and signs".to_owned());
    if let Some(key) = responder {
        issuance::probe(key.as_ref()).map_err(|e| StartError::Refused(e.to_string()))?;
        say("the OCSP responder's key signs".to_owned());
    }
    Ok(())
}

fn serve(config: Config) -> Result<(), StartError> {
    process::whole_or_gone();
    let other = |e: &dyn core::fmt::Display| StartError::Other(e.to_string());
    let server = config.server.clone();
    let probe_interval = config.hsm.probe_interval;
    let embedded = config.database.embedded;
    let manners = Manners {
        limits: config.limits,
        published: config.server.published.clone(),
        base_url: config.server.base_url.clone().unwrap_or_default(),
        signer_stale: probe_interval * 3,
        operators: config.operators.clone(),
    };
    let tls = acceptor(&config.tls).map_err(|e| other(&e))?;
    let house = Arc::new(House::open(config)?);
    let which = if embedded { Which::All } else { Which::Overdue };
    recover(&house, which).map_err(|e| StartError::NotNow(e.to_string()))?;
    reach(Point::StartRecovered);
    if let Some(ocsp) = &house.ocsp {
        match renew(&house, ocsp) {
            Ok(_) => {}
            Err(DelegateFault::Refused(why)) => return Err(StartError::Refused(why)),
            // The job tries again; until then it is `tryLater`.
            Err(DelegateFault::Later(why)) => tracing::warn!(why, "the OCSP responder has no certificate yet"),
        }
    }
    reach(Point::StartDelegate);
    if let Some(ledger) = house.ledger.as_ref().filter(|ledger| !ledger.witnesses.is_empty()) {
        match advance(&house, ledger) {
            Ok(_) => {}
            Err(LedgerFault::Broken(why)) => return Err(StartError::Refused(format!("ledger: {why}"))),
            // The job asks again.
            Err(why) => tracing::warn!(%why, "the ledger does not go on yet"),
        }
    }
    let jobs = Jobs::start(&house, probe_interval).map_err(|e| other(&e))?;
    let last = Arc::clone(&house);

    let system = actix_web::rt::System::new();
    let served = system.block_on(async {
        let mut term = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let serving = Serving::start(house, manners, &server, tls).await?;
        reach(Point::StartReady);
        announce(&serving.addresses);
        process::notify(sd_notify::NotifyState::Ready);
        serving
            .until(async move {
                loop {
                    tokio::select! {
                        _ = term.recv() => break,
                        _ = interrupt.recv() => break,
                        _ = hangup.recv() => tracing::warn!("nothing is read again while running: restart the server"),
                    }
                }
                process::notify(sd_notify::NotifyState::Stopping);
            })
            .await
    });
    drop(system);
    drop(jobs);
    leave(last);
    served.map_err(|e: std::io::Error| other(&e))
}

/// Close the house here, after every worker has let go of it. A worker that is the last to hold it would close the
/// token's sessions while the process ends and the module's own globals are already gone: a crash at the very end.
fn leave(last: Arc<House>) {
    let begun = Instant::now();
    while Arc::strong_count(&last) > 1 {
        if begun.elapsed() > LEAVING {
            tracing::warn!("a worker still holds the signer; its sessions are left to the end of the process");
            // Whoever else lets go of it, this count keeps it open.
            core::mem::forget(last);
            return;
        }
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

/// One line on standard output, for whoever started us on port 0.
fn announce(addresses: &Addresses) {
    let mut line = format!("ready public={}", addresses.public);
    if let Some(metrics) = addresses.metrics {
        line.push_str(&format!(" metrics={metrics}"));
    }
    if let Some(status) = addresses.status {
        line.push_str(&format!(" status={status}"));
    }
    if let Some(admin) = &addresses.admin {
        line.push_str(&format!(" admin={}", admin.display()));
    }
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{line}");
    let _ = out.flush();
    tracing::info!(public = %addresses.public, "{line}");
}
