//! A version that does not exist yet: this one, which knows migrations more.

use std::path::PathBuf;

use device_kit::rig::{Rig, Surroundings};

/// What one of its migrations does: number, name, SQL and its way back on PostgreSQL, and the same on SQLite.
type Migration = (u32, &'static str, [&'static str; 2], [&'static str; 2]);

/// A column of a table that everybody writes, its index, and a rule that looks at each new row.
const NOTE: Migration = (
    1000,
    "note",
    [
        "ALTER TABLE certificate ADD COLUMN next_note TEXT COLLATE \"C\" NOT NULL DEFAULT 'none' CHECK (length(next_note) < 9);\n\
         CREATE INDEX certificate_next ON certificate (next_note, id);\n\
         CREATE TRIGGER next_note BEFORE INSERT ON certificate FOR EACH ROW WHEN (NEW.next_note <> 'none')\n\
         EXECUTE FUNCTION holdfast_refuse('no notes yet');",
        "DROP TRIGGER next_note ON certificate; DROP INDEX certificate_next;\n\
         ALTER TABLE certificate DROP COLUMN next_note;",
    ],
    [
        "ALTER TABLE certificate ADD COLUMN next_note TEXT NOT NULL DEFAULT 'none' CHECK (length(next_note) < 9);\n\
         CREATE INDEX certificate_next ON certificate (next_note, id);",
        "DROP INDEX certificate_next; ALTER TABLE certificate DROP COLUMN next_note;",
    ],
);

/// A table.
const THING: Migration = (
    1001,
    "thing",
    [
        "CREATE TABLE next_thing (id BIGINT PRIMARY KEY, device_id BIGINT REFERENCES device (id));",
        "DROP TABLE next_thing;",
    ],
    [
        "CREATE TABLE next_thing (id INTEGER PRIMARY KEY, device_id INTEGER REFERENCES device (id)) STRICT;",
        "DROP TABLE next_thing;",
    ],
);

/// The same, in the midst of which it hangs, with a table that everybody reads in its hands.
const SLOW: Migration = (
    1001,
    "slow",
    [
        "CREATE TABLE next_thing (id BIGINT PRIMARY KEY, device_id BIGINT REFERENCES device (id));\n\
         ALTER TABLE device ADD COLUMN next_half BIGINT; SELECT pg_sleep(60);",
        "",
    ],
    ["", ""],
);

/// One that the version before cannot live with.
const BREAK: Migration = (
    1002,
    "break",
    [
        "DROP TABLE next_thing;",
        "CREATE TABLE next_thing (id BIGINT PRIMARY KEY, device_id BIGINT);",
    ],
    [
        "DROP TABLE next_thing;",
        "CREATE TABLE next_thing (id INTEGER PRIMARY KEY, device_id INTEGER) STRICT;",
    ],
);

/// Folders of migrations, for versions that know more and more.
pub(crate) struct Versions {
    folder: PathBuf,
    around: Surroundings,
    /// The newest migration of this version.
    pub(crate) ours: u32,
}

impl Versions {
    pub(crate) fn of(rig: &Rig, ours: u32) -> Self {
        let folder = rig.path("versions");
        for (version, all) in [
            ("next", &[NOTE, THING][..]),
            ("slow", &[NOTE, SLOW]),
            ("last", &[NOTE, THING, BREAK]),
        ] {
            for (number, name, postgres, sqlite) in all {
                let oldest = if *number == BREAK.0 { *number } else { ours };
                for (engine, [up, down]) in [("postgres", postgres), ("sqlite", sqlite)] {
                    let place = folder.join(format!("{version}/{engine}/{number:014}_{name}"));
                    std::fs::create_dir_all(&place).unwrap();
                    let up =
                        format!("{up}\nINSERT INTO __holdfast_oldest (version, oldest) VALUES ({number}, {oldest});");
                    let down = format!("{down}\nDELETE FROM __holdfast_oldest WHERE version = {number};");
                    std::fs::write(place.join("up.sql"), up).unwrap();
                    std::fs::write(place.join("down.sql"), down).unwrap();
                }
            }
        }
        Self {
            folder,
            around: rig.around.clone(),
            ours,
        }
    }

    /// What makes this build another version, with a fail-point or without (`""`).
    pub(crate) fn surroundings(&self, version: &str, failpoint: &str) -> Surroundings {
        let folder = self.folder.join(version).display().to_string();
        let mut around = self.around.clone();
        around.environment.extend([
            ("HOLDFAST_NEXT_MIGRATIONS".to_owned(), folder),
            ("HOLDFAST_FAILPOINT".to_owned(), failpoint.to_owned()),
        ]);
        around
    }
}
