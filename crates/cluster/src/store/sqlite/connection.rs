//! Opening the SQLite file: safely made, of a known format, set up alike by every process. Blocking.

use std::fs::{self, DirBuilder, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use crate::store::{Error, Result};

/// How long one statement waits for others that write.
pub const BUSY: Duration = Duration::from_secs(5);
/// Marks the file as ours: "Fnce".
const APPLICATION: i64 = 0x466e_6365;
/// The newest format this program knows.
const FORMAT: i64 = 1;
/// What the write-ahead log is cut back to after a checkpoint.
const WAL_KEPT: i64 = 4 * 1024 * 1024;

const TABLES: &str = "
    CREATE TABLE state (
        one INTEGER PRIMARY KEY CHECK (one = 1),
        revision INTEGER NOT NULL,
        compacted INTEGER NOT NULL,
        last_lease INTEGER NOT NULL
    );
    INSERT INTO state VALUES (1, 0, 0, 0);
    CREATE TABLE entries (
        key BLOB PRIMARY KEY NOT NULL,
        value BLOB NOT NULL,
        revision INTEGER NOT NULL,
        lease INTEGER
    );
    CREATE INDEX entries_lease ON entries (lease) WHERE lease IS NOT NULL;
    CREATE TABLE changes (
        id INTEGER PRIMARY KEY,
        revision INTEGER NOT NULL,
        key BLOB NOT NULL,
        value BLOB
    );
    CREATE INDEX changes_revision ON changes (revision);
    CREATE TABLE leases (
        id INTEGER PRIMARY KEY,
        ttl_ms INTEGER NOT NULL,
        until_ms INTEGER NOT NULL,
        boot TEXT NOT NULL
    );
";

/// Open the file that is there.
pub fn open(path: &Path) -> Result<Connection> {
    let length = fs::metadata(path).map_err(|source| io_error(path, source))?.len();
    if length == 0 {
        // Someone is just making it, or died doing so; making it again completes it.
        return Err(Error::Missing { place: place(path) });
    }
    let connection = connect(path)?;
    match read_format(path, &connection)? {
        Some(_) => Ok(connection),
        None => Err(Error::Missing { place: place(path) }),
    }
}

/// Make the file unless it is there; two who do so at once make one.
pub fn create(path: &Path) -> Result<()> {
    if let Some(directory) = path.parent() {
        let mut builder = DirBuilder::new();
        builder.recursive(true).mode(0o755);
        builder.create(directory).map_err(|source| io_error(path, source))?;
    }
    // SQLite gives the files beside it the same mode.
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path);
    let file = file.map_err(|source| io_error(path, source))?;
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(|source| io_error(path, source))?;
    let mut connection = connect(path)?;
    use_wal(path, &connection)?;
    let failed = |source| sqlite_error("create", path, source);
    let transaction = connection
        .transaction_with_behavior(TransactionBehavior::Immediate)
        .map_err(failed)?;
    if read_format(path, &transaction)?.is_none() {
        transaction.execute_batch(TABLES).map_err(failed)?;
        transaction
            .pragma_update(None, "application_id", APPLICATION)
            .map_err(failed)?;
        transaction
            .pragma_update(None, "user_version", FORMAT)
            .map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

fn connect(path: &Path) -> Result<Connection> {
    let failed = |source| sqlite_error("open", path, source);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    connection.busy_timeout(BUSY).map_err(failed)?;
    // A change that was acknowledged is on disk.
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection
        .pragma_update(None, "journal_size_limit", WAL_KEPT)
        .map_err(failed)?;
    Ok(connection)
}

/// Switch to write-ahead logging. SQLite does not wait for others here by itself.
fn use_wal(path: &Path, connection: &Connection) -> Result<()> {
    const PAUSE: Duration = Duration::from_millis(5);
    let deadline = Instant::now() + BUSY;
    loop {
        match connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0)) {
            Ok(_) => return Ok(()),
            Err(error) if is_busy(&error) && Instant::now() < deadline => std::thread::sleep(PAUSE),
            Err(error) => return Err(sqlite_error("create", path, error)),
        }
    }
}

/// The file's format; `None` while nothing has been made in it.
fn read_format(path: &Path, connection: &Connection) -> Result<Option<i64>> {
    let read = |name| {
        let value = connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        value.map_err(|source| sqlite_error("open", path, source))
    };
    let (application, format) = (read("application_id")?, read("user_version")?);
    match (application, format) {
        (0, 0) if read("schema_version")? == 0 => Ok(None),
        (APPLICATION, 1..=FORMAT) => Ok(Some(format)),
        (APPLICATION, found) if found > FORMAT => Err(Error::NewerFormat {
            place: place(path),
            found,
            known: FORMAT,
        }),
        _ => {
            let reason = "it is a SQLite file of another program".to_owned();
            Err(Error::Corrupt {
                place: place(path),
                reason,
            })
        }
    }
}

/// How errors name the file.
pub fn place(path: &Path) -> String {
    path.display().to_string()
}

/// Our word for what the system says of the file.
pub fn io_error(path: &Path, source: io::Error) -> Error {
    let place = place(path);
    match source.kind() {
        io::ErrorKind::NotFound => Error::Missing { place },
        io::ErrorKind::PermissionDenied => Error::Denied {
            place,
            source: source.into(),
        },
        _ => Error::Unavailable {
            place,
            source: source.into(),
        },
    }
}

/// Our word for what SQLite says.
pub fn sqlite_error(attempt: &'static str, path: &Path, source: rusqlite::Error) -> Error {
    let place = place(path);
    match source.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Error::Busy {
            place,
            seconds: BUSY.as_secs(),
        },
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Error::Corrupt {
            place,
            reason: source.to_string(),
        },
        Some(ErrorCode::PermissionDenied | ErrorCode::ReadOnly) => Error::Denied {
            place,
            source: source.into(),
        },
        Some(ErrorCode::CannotOpen) => match fs::metadata(path) {
            Err(error) => io_error(path, error),
            Ok(_) => Error::Denied {
                place,
                source: source.into(),
            },
        },
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::OutOfMemory) => Error::Unavailable {
            place,
            source: source.into(),
        },
        _ => Error::Failed {
            attempt,
            place,
            source: source.into(),
        },
    }
}

fn is_busy(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    )
}
