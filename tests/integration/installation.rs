//! A PostgreSQL installation that a test owns and may change: a copy of the one under test.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use tempfile::TempDir;

use crate::cluster::{pg_config, test_dir};

/// The files of an installation. PostgreSQL finds them relative to its programs, so a copy works.
pub struct Installation {
    home: TempDir,
}

impl Installation {
    /// A copy without a file of the name `vector`.
    pub fn without_vector() -> Self {
        Self::without_vector_of(&pg_config())
    }

    /// The same of another installation.
    pub fn without_vector_of(original: &Path) -> Self {
        let installation = Self::copy_of(original);
        let (scripts, library) = (installation.scripts(), installation.library("vector"));
        let remove =
            r#"rm -f "$1"/vector.control "$1"/vector--*.sql "$2"; rm -rf "$1"/../pgvector "$3"/extension/vector"#;
        run(Command::new("sh").arg("-c").arg(remove).args([
            "sh",
            text(&scripts),
            text(&library),
            text(&installation.headers()),
        ]));
        installation
    }

    /// A copy with pgvector as it comes with PostgreSQL in the cache; none if that has no pgvector.
    pub fn with_pgvector() -> Option<Self> {
        let pg_config = PathBuf::from(std::env::var_os("PG_ALOPEX_PGVECTOR_PG_CONFIG")?);
        let original = Installation::directories_of(&pg_config);
        if !original.1.join("vector.so").exists() {
            println!("skipped: there is no pgvector for this PostgreSQL");
            return None;
        }
        let installation = Self::without_vector();
        let (scripts, libraries) = Installation::directories_of(&installation.pg_config());
        let copy = r#"cp "$1"/extension/vector.control "$1"/extension/vector--*.sql "$4"/extension && cp "$2"/vector.so "$5" &&
            mkdir -p "$6"/extension && cp -r "$3"/extension/vector "$6"/extension"#;
        run(Command::new("sh").arg("-c").arg(copy).args([
            "sh",
            text(&original.0),
            text(&original.1),
            text(&headers_of(&pg_config)),
            text(&scripts),
            text(&libraries),
            text(&installation.headers()),
        ]));
        Some(installation)
    }

    /// Gives the objects of pgvector's full script this number.
    pub fn number_pgvector(&self, number: &str) {
        let scripts = self.scripts();
        let rename = r#"cd "$1" && mv vector--0.8.5.sql full && rm -f vector--"$2".sql && mv full vector--"$2".sql &&
            sed -i "s/^default_version = .*/default_version = '$2'/" vector.control"#;
        run(Command::new("sh")
            .arg("-c")
            .arg(rename)
            .args(["sh", text(&scripts), number]));
    }

    /// The directories of shared files and of libraries.
    fn directories_of(pg_config: &Path) -> (PathBuf, PathBuf) {
        let of = |option: &str| {
            let output = run(Command::new(pg_config).arg(option));
            PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
        };
        (of("--sharedir"), of("--pkglibdir"))
    }

    fn copy_of(pg_config: &Path) -> Self {
        let home = tempfile::Builder::new()
            .prefix("installation-")
            .tempdir_in(test_dir())
            .expect("a directory for the installation");
        // Its user enters it.
        run(Command::new("chmod").arg("755").arg(home.path()));
        let original = pg_config
            .parent()
            .and_then(Path::parent)
            .expect("pg_config is in an installation");
        run(Command::new("cp")
            .arg("-a")
            .arg(original)
            .arg(home.path().join("postgresql")));
        Installation { home }
    }

    /// Its pg_config.
    pub fn pg_config(&self) -> PathBuf {
        self.home.path().join("postgresql/bin/pg_config")
    }

    /// The directory of control files and scripts.
    pub fn scripts(&self) -> PathBuf {
        Installation::directories_of(&self.pg_config()).0.join("extension")
    }

    /// The directory of the server's headers.
    pub fn headers(&self) -> PathBuf {
        headers_of(&self.pg_config())
    }

    /// The file of a library.
    pub fn library(&self, name: &str) -> PathBuf {
        let libraries = Installation::directories_of(&self.pg_config()).1;
        libraries.join(name).with_extension("so")
    }

    /// Gives the extension the name `vector`, as `make install-vector-name` does after installing;
    /// returns the script's errors if it fails.
    pub fn take_name(&self, options: &[&str]) -> Result<(), String> {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../pgrx-config/vector-name.sh");
        let mut command = Command::new(script);
        let output = command
            .args(options)
            .arg(self.pg_config())
            .output()
            .expect("the script starts");
        match output.status.success() {
            true => Ok(()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }
}

fn headers_of(pg_config: &Path) -> PathBuf {
    let output = run(Command::new(pg_config).arg("--includedir-server"));
    PathBuf::from(String::from_utf8_lossy(&output.stdout).trim())
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

fn run(command: &mut Command) -> Output {
    let output = command.output().expect("the program starts");
    assert!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}
