//! Stopping a listener.

use std::time::Duration;

use stoker::journal::Status;
use stoker::mllp::ListenerConfig;
use tokio::io::AsyncWriteExt;

use crate::listening::{PATIENCE, adt, framed, id, listen, next_ack, read_to_end};

#[tokio::test]
async fn a_message_in_hand_is_stored_and_acknowledged_before_the_listener_stops() {
    let site = listen(ListenerConfig::default()).await;
    let held = site.hold_commits().await;
    let mut stream = site.stream().await;
    stream.write_all(&[framed(&adt("1")), framed(&adt("2"))].concat()).await.unwrap();
    site.taken(adt("1").len() + adt("2").len()).await;
    site.shutdown.cancel();
    site.closed().await;
    assert!(!site.served.is_finished());
    drop(held);
    for expected in ["1", "2"] {
        let ack = next_ack(&mut stream).await;
        assert_eq!((ack.code.as_str(), id(&ack).as_str()), ("AA", expected));
    }
    assert_eq!(read_to_end(&mut stream).await, b"\r");
    drop(stream);
    tokio::time::timeout(PATIENCE, site.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_frame_that_is_not_complete_when_the_listener_stops_gets_no_ack() {
    let site = listen(ListenerConfig::default()).await;
    let mut stream = site.stream().await;
    stream
        .write_all(&[framed(&adt("1")), b"\x0BMSH|^~\\&|A|B|||1||ADT^A01|2|P|2.5\r".to_vec()].concat())
        .await
        .unwrap();
    assert_eq!(id(&next_ack(&mut stream).await), "1");
    site.shutdown.cancel();
    assert_eq!(read_to_end(&mut stream).await, b"\r");
    drop(stream);
    let rows = site.rows_when(2).await;
    assert_eq!((rows[1].control_id.as_str(), rows[1].status), ("2", Status::Refused));
    tokio::time::timeout(PATIENCE, site.served).await.unwrap().unwrap();
}

#[tokio::test]
async fn idle_connections_do_not_hold_up_the_stop() {
    let site = listen(ListenerConfig::default()).await;
    let mut client = site.client().await;
    client.send(&adt("1")).await.unwrap();
    let _silent = site.stream().await;
    site.shutdown.cancel();
    tokio::time::timeout(Duration::from_secs(5), site.served).await.unwrap().unwrap();
    assert_eq!(site.intake.counters().connections(), 0);
}
