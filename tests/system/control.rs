//! A robot's policy over the local socket, as a control loop asks it.

use std::path::Path;

use picket::{
    bundle::golden::compare,
    tensor::{Dtype, Tensor},
};
use picket_tests::{caller::Caller, daemon::Daemon, free_port, golden, shared, until_ready};
use sha2::{Digest, Sha256};

const POLICY: &str = "models/robot-policies/go1_policy.onnx";

fn start(shared: &Path, port: u16, more: &str) -> Daemon {
    let bundle = shared.join(POLICY);
    Daemon::start(&format!(
        "[device]\nid = \"go1\"\n[http]\nlisten = \"127.0.0.1:{port}\"\n\
         [[model]]\nname = \"policy\"\nbundle = \"{0}\"\ndurable = false\n\
         [[model]]\nname = \"kept\"\nbundle = \"{0}\"\n{more}",
        bundle.display()
    ))
}

fn policy(shared: &Path) -> golden::Entry {
    golden::entries(shared).into_iter().find(|entry| entry.model == POLICY).unwrap()
}

/// The file with the jobs and results.
fn store(daemon: &Daemon) -> Vec<u8> {
    let file = daemon.folder.path().join("store/picket.redb");
    Sha256::digest(std::fs::read(file).unwrap()).to_vec()
}

#[tokio::test]
async fn a_policy_that_is_not_to_wait_for_the_disk_answers_right_and_does_not_touch_it() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    let port = free_port();
    let daemon = start(&shared, port, "");
    until_ready(port).await;
    let entry = policy(&shared);
    let (input, want) = (entry.tensors().remove(0), entry.outputs(&shared).remove(0));
    let mut caller = Caller::tcp(port).unwrap();
    let before = store(&daemon);
    for _ in 0..200 {
        let reply = caller.infer("policy", &input).unwrap();
        assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
        let got = Tensor::new("y", Dtype::Fp32, want.shape().to_vec(), reply.tensors().to_vec()).unwrap();
        compare(&want, &got, 1e-4).unwrap();
    }
    assert!(before == store(&daemon), "a control loop's jobs went to the disk");
    assert_eq!(caller.infer("kept", &input).unwrap().status, 200);
    assert!(before != store(&daemon), "the other jobs do");
}

#[tokio::test]
async fn a_local_socket_serves_as_the_network_does() {
    let Some(shared) = shared("golden").and(shared("")) else { return };
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("picket.sock");
    let bundle = shared.join(POLICY);
    let mut daemon = Daemon::start(&format!(
        "[device]\nid = \"go1\"\n[http]\nlisten = \"unix:{}\"\n[[model]]\nname = \"policy\"\nbundle = \"{}\"\ndurable = false\n",
        socket.display(),
        bundle.display()
    ));
    let mut caller = loop {
        assert!(daemon.is_running(), "{}", daemon.log());
        match Caller::unix(&socket) {
            Ok(caller) => break caller,
            Err(_) => tokio::task::yield_now().await,
        }
    };
    let entry = policy(&shared);
    let mut short = entry.tensors().remove(0);
    let reply = caller.infer("policy", &short).unwrap();
    assert_eq!(reply.status, 200, "{}", String::from_utf8_lossy(&reply.body));
    // A wrong question on the same line is an error of its own, and the next one is answered.
    short = Tensor::new("obs", Dtype::Fp32, vec![1, 47], short.data().slice(..47 * 4)).unwrap();
    let refused = caller.infer("policy", &short).unwrap();
    assert_eq!(refused.status, 400);
    assert!(String::from_utf8_lossy(&refused.body).contains("input/shape-mismatch"));
    assert_eq!(caller.infer("policy", &entry.tensors().remove(0)).unwrap().status, 200);
}
