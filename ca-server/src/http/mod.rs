//! The only place for actix-web.

mod admin;
mod answers;
mod auditor;
mod body;
mod crl;
mod device;
mod evidence;
mod extract;
mod front;
mod gate;
mod limits;
mod manifest;
mod monitor;
mod peer;
mod policy;
mod presented;
mod problem;
mod public;
mod query;
mod renewal;
mod replacement;
mod review;
mod revocation;
mod serve;
mod status;
mod third_party;
mod tls;

pub use admin::routes as admin_routes;
pub use body::whole;
pub use front::{Front, Manners};
pub use gate::gate;
pub use monitor::routes as monitor_routes;
pub use public::routes as public_routes;
pub use serve::{Addresses, Serving};
pub use status::{gate as status_gate, routes as status_routes};
pub use tls::acceptor;
