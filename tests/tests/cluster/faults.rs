//! What PostgreSQL does to three servers that are at work.

use device_kit::postgres::Cluster;
use device_kit::rig::Wanted;

use crate::device::{Device, under_load};
use crate::journal::holds;
use crate::three::Three;

/// One of three writes fails as PostgreSQL fails them when transactions meet.
fn trouble(code: &str, message: &str) -> String {
    format!(
        "CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
         IF random() < 0.3 THEN RAISE EXCEPTION '{message}' USING ERRCODE = '{code}'; END IF; RETURN NEW; END $$; \
         CREATE TRIGGER trouble BEFORE INSERT OR UPDATE ON certificate FOR EACH ROW EXECUTE FUNCTION trouble()"
    )
}

/// F08: serialization failures, deadlocks, connections that end, a restart, and fewer connections than three servers want. Nobody
/// hears anything but success and later, and nothing is lost.
#[test]
fn f08_what_a_database_does_to_three_servers() {
    let cluster = Cluster::start().unwrap();
    let database = cluster.database().unwrap();
    let name = Cluster::name_in(&database).to_owned();
    let three = Three::on(Wanted {
        database: database.clone(),
        ..Wanted::default()
    });
    let devices = three.with(0, |server| Device::allowed(&three.rig, server, 40));
    let more = |count: usize| three.answers(count);
    under_load(&three, &three.journal, devices, || {
        for (code, message) in [
            ("40001", "could not serialize access due to concurrent update"),
            ("40P01", "deadlock detected"),
        ] {
            cluster.sql(&name, &trouble(code, message)).unwrap();
            more(8);
            cluster.sql(&name, "DROP FUNCTION trouble CASCADE").unwrap();
        }
        for _ in 0..4 {
            let cut =
                "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'holdfast'";
            assert_ne!(cluster.sql("postgres", cut).unwrap(), "0");
            more(3);
        }
        cluster.crash().unwrap();
        cluster.append_settings("max_connections = 14\n").unwrap();
        cluster.up().unwrap();
        more(10);
        cluster.crash().unwrap();
        cluster.append_settings("max_connections = 200\n").unwrap();
        cluster.up().unwrap();
        more(6);
        three.look();
    });
    assert!(
        cluster.log().contains("sorry, too many clients already"),
        "there were fewer than they wanted"
    );
    for number in 0..3 {
        three.with(number, |server| {
            assert!(server.metric("ca_panics_total") < 1.0, "{}", server.log());
            assert!(!server.log().contains("defect"), "{}", server.log());
        });
    }
    holds(&three.rig, &three.shim, &three.journal, &database);
}
