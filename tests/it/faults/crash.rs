//! `kill -9` of one process, the other, and both.

use super::audit::audit;
use super::chaos::{Dice, kill_in_turn};
use super::load::Load;
use super::{PATIENCE, running};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_random_points_engine_and_mailbox_lose_nothing_and_apply_nothing_twice() {
    let folder = tempfile::tempdir().unwrap();
    let mut rig = running(folder.path());
    let load = Load::start(rig.mllp, 60, 8, Some(300));
    let seed = u64::from(std::process::id());
    kill_in_turn(&mut rig, &mut Dice::new(seed), 3, |_| {}).await;
    let acked = load.stop().await;
    let total =
        audit(&rig, &acked, PATIENCE).await.unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}\n{}", rig.log()));
    assert!(total > 60, "there was hardly any load: {total}");
}
