//! A PostgreSQL cluster that a test owns: started, stopped, killed, copied, and removed when
//! dropped.
//!
//! Servers listen on a unix socket only. As root they run as the user `postgres`, because a server
//! refuses to run as root.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use postgres::{Client, Config, NoTls};
use rustix::process::{Pid, Signal, geteuid, kill_process};
use tempfile::TempDir;

const SERVER_USER: &str = "postgres";
const DEADLINE: Duration = Duration::from_secs(60);

/// Settings of every server: small enough that checkpoints, evictions and WAL switches happen
/// during a test. `fsync` matters only when the machine dies; writes of a killed server stay in the
/// kernel.
const SETTINGS: &str = "
listen_addresses = ''
fsync = off
shared_buffers = 16MB
maintenance_work_mem = 64MB
max_wal_size = 64MB
checkpoint_timeout = 30s
wal_level = logical
max_prepared_transactions = 10
max_connections = 30
autovacuum = off
hot_standby_feedback = on
max_standby_streaming_delay = -1
lc_messages = 'C'
";

/// Waits until `condition` holds; fails with the text `what` when it does not within a minute.
pub fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < DEADLINE, "waited {DEADLINE:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A cluster and its server.
pub struct Cluster {
    /// The server's socket directory, short because a socket's path must be; removed with
    /// everything else.
    sockets: TempDir,
    /// The data directory's parent.
    home: TempDir,
    /// PostgreSQL's programs.
    programs: PathBuf,
    server: Mutex<Option<Child>>,
}

impl Cluster {
    /// A new cluster with the extension in its database `postgres`, running.
    pub fn new() -> Self {
        Self::with("")
    }

    /// As [`Cluster::new`], with settings of its own.
    pub fn with(settings: &str) -> Self {
        let cluster = Self::empty(&pg_config(), &[]);
        cluster.configure(settings);
        cluster.start();
        cluster.create_extension();
        cluster
    }

    /// A new cluster of the PostgreSQL with this `pg_config`, made with options of initdb, without
    /// the extension, not running.
    pub fn empty(pg_config: &Path, options: &[&str]) -> Self {
        let cluster = Self::prepare(pg_config);
        let always = ["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"];
        cluster.run_tool("initdb", &[&always, options].concat());
        let conf = cluster.data().join("postgresql.conf");
        fs::write(&conf, SETTINGS).expect("the settings are written");
        cluster
    }

    /// A streaming standby of a running cluster, running.
    pub fn standby_of(primary: &Cluster) -> Self {
        let cluster = Self::prepare(&pg_config());
        // With a slot, so that the primary keeps the WAL that the standby has not read yet.
        cluster.back_up(primary, &["-R", "-C", "-S", "standby"]);
        cluster.start();
        cluster
    }

    /// A backup of a running cluster, not running.
    pub fn backup_of(primary: &Cluster) -> Self {
        let cluster = Self::prepare(&pg_config());
        cluster.back_up(primary, &[]);
        cluster
    }

    /// Makes the extension in the database `postgres`.
    pub fn create_extension(&self) {
        self.client()
            .batch_execute(&format!("CREATE EXTENSION {}", extension()))
            .expect("the extension is created");
    }

    /// Makes an empty cluster of a later version the upgrade of `old`; neither is running.
    pub fn upgrade_from(&self, old: &Cluster) {
        let text = |path: &Path| path.to_str().expect("a path in UTF-8").to_string();
        let arguments = [
            ["--old-bindir".to_string(), text(&old.programs)],
            ["--new-bindir".to_string(), text(&self.programs)],
            ["--old-datadir".to_string(), text(&old.data())],
            ["--socketdir".to_string(), text(self.sockets.path())],
            ["--username".to_string(), "postgres".to_string()],
        ];
        let arguments: Vec<_> = arguments.iter().flatten().map(String::as_str).collect();
        self.run_tool("pg_upgrade", &arguments);
    }

    /// Starts a backup that recovers from an archive, and waits for the end of that.
    pub fn recover(&self) {
        let signal = self.data().join("recovery.signal");
        fs::write(&signal, "").expect("the signal is written");
        if let Some((uid, gid)) = server_ids() {
            chown(&signal, Some(uid), Some(gid)).expect("the server's user gets the signal");
        }
        self.start();
        let mut client = self.client();
        wait_for("the end of the recovery", || {
            let query = "SELECT NOT pg_is_in_recovery()";
            client.query_one(query, &[]).expect("an answer").get(0)
        });
    }

    fn back_up(&self, primary: &Cluster, options: &[&str]) {
        let source = primary.connection_string("postgres");
        let mut arguments = vec!["-X", "stream", "--checkpoint=fast", "--no-sync", "-d", &source];
        arguments.extend(options);
        self.run_tool("pg_basebackup", &arguments);
    }

    /// Settings for the time from the next start on.
    pub fn configure(&self, settings: &str) {
        let mut conf = fs::OpenOptions::new()
            .append(true)
            .open(self.data().join("postgresql.conf"))
            .expect("the settings are there");
        writeln!(conf, "{settings}").expect("the settings are written");
    }

    /// The directories of a cluster, the data directory empty.
    fn prepare(pg_config: &Path) -> Self {
        let home = tempfile::Builder::new()
            .prefix("cluster-")
            .tempdir_in(test_dir())
            .expect("a directory for the cluster");
        let sockets = tempfile::Builder::new()
            .prefix("alopex-")
            .tempdir_in("/tmp")
            .expect("a directory for sockets");
        fs::DirBuilder::new()
            .mode(0o700)
            .create(home.path().join("data"))
            .expect("a data directory");
        if let Some((uid, gid)) = server_ids() {
            for path in [home.path(), sockets.path(), &home.path().join("data")] {
                chown(path, Some(uid), Some(gid)).expect("the server's user gets its directories");
            }
        }
        Cluster {
            sockets,
            home,
            programs: pg_config.parent().expect("pg_config is in a directory").to_path_buf(),
            server: Mutex::new(None),
        }
    }

    /// The data directory.
    pub fn data(&self) -> PathBuf {
        self.home.path().join("data")
    }

    /// The directory of the server's socket.
    pub fn sockets(&self) -> &Path {
        self.sockets.path()
    }

    /// The server's log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.home.path().join("log")).unwrap_or_default()
    }

    /// A client program, run to its end against the server; returns its output.
    pub fn run_client(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = self.command(program);
        command
            .arg("-h")
            .arg(self.sockets())
            .args(["-U", "postgres"])
            .args(arguments);
        let output = command.output().expect("the program starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{program} {arguments:?}: {errors}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A command of a shell, with the client programs of this installation and the connection as in
    /// its environment.
    pub fn run_shell(&self, command: &str) {
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", self.programs.display());
        let mut shell = Command::new("sh");
        shell.args(["-e", "-c", command]).env("PATH", path);
        let output = shell.env("PGHOST", self.sockets()).env("PGUSER", "postgres").output();
        let output = output.expect("the shell starts");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && !errors.contains("ERROR"),
            "{command}: {errors}"
        );
    }

    /// A program of the PostgreSQL under test, run to its end on this data directory.
    fn run_tool(&self, tool: &str, arguments: &[&str]) {
        let output = self
            .command(tool)
            .arg("-D")
            .arg(self.data())
            .args(arguments)
            .output()
            .expect("the tool starts");
        assert!(
            output.status.success(),
            "{tool} {arguments:?}: {}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }

    /// A program of the PostgreSQL under test, as the server's user. `setpriv` becomes the program:
    /// the process id stays.
    fn command(&self, program: &str) -> Command {
        let path = self.programs.join(program);
        let mut command = match server_ids() {
            None => Command::new(path),
            Some(_) => {
                let mut command = Command::new("setpriv");
                command
                    .args(["--reuid", SERVER_USER, "--regid", SERVER_USER, "--init-groups", "--"])
                    .arg(path);
                command
            }
        };
        command.current_dir(self.home.path()).env("LC_ALL", "C");
        command
    }

    /// Starts the server and waits until it answers.
    pub fn start(&self) {
        self.start_within(None);
    }

    /// As [`Cluster::start`]; each of its processes has at most so many bytes of memory.
    pub fn start_within(&self, bytes: Option<u64>) {
        let mut running = self.server.lock().unwrap();
        assert!(running.is_none(), "the server is running");
        let log = fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.home.path().join("log"))
            .expect("a log");
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).arg("-k").arg(self.sockets.path());
        // As some servers have it: it is to be of no effect.
        command.env("RUST_BACKTRACE", "1");
        if let Some(bytes) = bytes {
            let mut limited = Command::new("prlimit");
            limited.arg(format!("--as={bytes}")).arg(command.get_program());
            limited.args(command.get_args()).current_dir(self.home.path());
            limited.env("LC_ALL", "C").env("RUST_BACKTRACE", "1");
            command = limited;
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        *running = Some(command.spawn().expect("the server starts"));
        drop(running);
        // Without the guard: if this fails the server is to be ended.
        wait_for("the server answers", || {
            let status = self
                .server
                .lock()
                .unwrap()
                .as_mut()
                .and_then(|server| server.try_wait().expect("the server can be waited for"));
            if let Some(status) = status {
                *self.server.lock().unwrap() = None;
                panic!("the server ended at start: {status}\n{}", self.log());
            }
            self.try_client().is_ok()
        });
    }

    /// A connection to the database `postgres`, or why there is none.
    pub fn try_client(&self) -> Result<Client, postgres::Error> {
        self.try_client_of("postgres")
    }

    fn try_client_of(&self, database: &str) -> Result<Client, postgres::Error> {
        Config::new()
            .host_path(self.sockets.path())
            .user("postgres")
            .dbname(database)
            .connect(NoTls)
    }

    /// A connection to a database.
    pub fn client_of(&self, database: &str) -> Client {
        self.try_client_of(database).expect("a connection")
    }

    /// How a server connects to a database of this one.
    pub fn connection_string(&self, database: &str) -> String {
        format!("host={} user=postgres dbname={database}", self.sockets.path().display())
    }

    /// A connection to the database `postgres`.
    pub fn client(&self) -> Client {
        self.try_client()
            .unwrap_or_else(|error| panic!("no connection: {error:?}\n{}", self.log()))
    }

    /// Stops the server in order, as for maintenance: every page is written.
    pub fn stop(&self) {
        self.end_with(Signal::INT);
    }

    /// Kills the server and all its processes with SIGKILL, at once, and waits until they are gone:
    /// a crash.
    pub fn kill(&self) {
        let mut server = self.server.lock().unwrap().take().expect("the server is running");
        server.kill().expect("the postmaster is killed");
        server.wait().expect("the postmaster is gone");
        // With the postmaster gone nothing starts new processes. The remaining ones must not finish
        // their work.
        wait_for("the server's processes are gone", || {
            let left = self.processes();
            for process in &left {
                // It may have ended by itself since it was listed.
                let _ = kill_process(*process, Signal::KILL);
            }
            left.is_empty()
        });
    }

    /// Whether the server has lost a process or itself, or failed an assertion, in its life: it
    /// logs each.
    pub fn has_crashed(&self) -> bool {
        let log = self.log();
        log.contains("was terminated by signal") || log.contains("PANIC:") || log.contains("TRAP:")
    }

    /// Asks the server to end with a signal and waits for it.
    fn end_with(&self, signal: Signal) {
        let mut server = self.server.lock().unwrap().take().expect("the server is running");
        kill_process(Pid::from_child(&server), signal).expect("the server gets a signal");
        wait_for("the server ends", || {
            server.try_wait().expect("the server can be waited for").is_some()
        });
    }

    /// Sets a soft limit of one of the server's processes, as `prlimit` takes it; returns the one
    /// before.
    pub fn limit_process(&self, process: i32, resource: &str, limit: &str) -> String {
        let run = |option: String| {
            let mut command = self.command("/usr/bin/env");
            let output = command.args(["prlimit", &format!("--pid={process}"), &option]);
            let output = output.args(["--output=SOFT", "--noheadings"]).output();
            let output = output.expect("prlimit starts");
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8_lossy(&output.stdout).trim().to_string()
        };
        let before = run(format!("--{resource}"));
        run(format!("--{resource}={limit}:"));
        before
    }

    /// The processes of this server: all that work in the data directory.
    fn processes(&self) -> Vec<Pid> {
        let data = self.data();
        let entries = fs::read_dir("/proc").expect("/proc is there").flatten();
        entries
            .filter(|entry| fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd == data))
            .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
            .collect()
    }

    /// The file of a relation, for tests that damage it. The server should be stopped when it is
    /// written.
    pub fn relation_file(&self, client: &mut Client, relation: &str) -> PathBuf {
        let row = client
            .query_one("SELECT pg_relation_filepath($1::text::regclass)", &[&relation])
            .expect("a path");
        self.data().join(row.get::<_, &str>(0))
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // Also in a process that no client waits for, such as the checkpointer.
        let crashed = self.has_crashed();
        if crashed || std::thread::panicking() {
            let log = self.log();
            let overflow: Vec<_> = log.lines().rev().take(30).collect();
            println!("end of the server's log:");
            overflow.iter().rev().for_each(|line| println!("    {line}"));
        }
        if self.server.lock().is_ok_and(|server| server.is_some()) {
            // Immediate shutdown: nothing of this cluster is needed any more.
            self.end_with(Signal::QUIT);
        }
        assert!(!crashed || std::thread::panicking(), "the server crashed");
    }
}

/// The extension under test.
pub fn extension() -> String {
    std::env::var("PG_ALOPEX_TEST_EXTENSION").unwrap_or_else(|_| "pg_alopex".to_string())
}

/// The `pg_config` of the PostgreSQL under test.
pub fn pg_config() -> PathBuf {
    let path = std::env::var_os("PG_ALOPEX_PG_CONFIG").expect("PG_ALOPEX_PG_CONFIG names a pg_config: run make test");
    PathBuf::from(path)
}

/// Where directories of tests are.
pub fn test_dir() -> PathBuf {
    std::env::var_os("PG_ALOPEX_TEST_DIR").map_or_else(std::env::temp_dir, PathBuf::from)
}

/// User and group of the server when they are not ours.
fn server_ids() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let id = |option: &str| {
        let output = Command::new("id")
            .args([option, SERVER_USER])
            .output()
            .expect("id runs");
        String::from_utf8_lossy(&output.stdout)
            .trim()
            .parse()
            .expect("the user postgres exists")
    };
    Some((id("-u"), id("-g")))
}
