//! MLServer with scikit-learn models: an Open Inference Protocol server that somebody else wrote.

use std::{
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::mpsc,
    time::Duration,
};

use tempfile::TempDir;

use crate::{free_port, root};

/// It imports and starts for 15 seconds on a busy machine; only a hanging test notices.
const PATIENCE: Duration = Duration::from_secs(120);

/// Serves `digits-trees` (labels are whole numbers) and `digits-words` (labels are texts), trained when it starts; ends
/// when dropped.
pub struct MlServer {
    child: Child,
    _folder: TempDir,
    pub port: u16,
}

impl MlServer {
    /// Trains the models, starts the server and waits until it listens and has loaded them.
    pub fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ports = [free_port(), free_port(), free_port()];
        let trained = Command::new(python())
            .arg(root().join("tests/system/mlserver_models.py"))
            .arg(folder.path())
            .args(ports.map(|port| port.to_string()))
            .arg(root().join("models/digits/test.csv"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&trained.stderr);
        assert!(trained.status.success(), "no models: {said}");
        // It logs to both.
        let (log, out) = std::io::pipe().unwrap();
        let child = Command::new(python())
            .args(["-c", "from mlserver.cli import main; main()", "start"])
            .arg(folder.path())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(out.try_clone().unwrap())
            .stderr(out)
            .spawn()
            .unwrap();
        let server = Self { child, _folder: folder, port: ports[0] };
        let wanted = [
            "Loaded model 'digits-trees'".to_owned(),
            "Loaded model 'digits-words'".to_owned(),
            format!("Uvicorn running on http://127.0.0.1:{}", server.port),
        ];
        wait_for(log, wanted.to_vec());
        server
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for MlServer {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The Python that `tests/run` has installed the test's packages for.
fn python() -> PathBuf {
    std::env::var_os("PICKET_TEST_PYTHON").map_or_else(|| "python3".into(), PathBuf::from)
}

/// Until each of these has stood in the log. The log is read to its end, or the server would stop at a full pipe.
fn wait_for(log: impl std::io::Read + Send + 'static, mut wanted: Vec<String>) {
    let (found, finds) = mpsc::sync_channel(1);
    std::thread::spawn(move || {
        let mut said = Vec::new();
        for line in BufReader::new(log).lines().map_while(Result::ok) {
            let before = wanted.len();
            wanted.retain(|part| !line.contains(part));
            if wanted.is_empty() && before > 0 {
                let _ = found.send(Ok(()));
            }
            if !wanted.is_empty() {
                said.push(line);
            }
        }
        let _ = found.send(Err(said.join("\n")));
    });
    let ended = finds.recv_timeout(PATIENCE).expect("MLServer starts in time");
    ended.unwrap_or_else(|said| panic!("MLServer ended:\n{said}"));
}
