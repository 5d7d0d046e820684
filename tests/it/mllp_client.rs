//! The sending side, with receivers that do not answer as they should.

use std::time::Duration;

use stoker::mllp::{Client, ClientError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::listening::{PATIENCE, adt, framed};

/// A client, and the receiver's end of its connection.
async fn connected(patience: Duration) -> (Client, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::connect(listener.local_addr().unwrap(), patience).await.unwrap();
    (client, listener.accept().await.unwrap().0)
}

fn ack(code: &str, control_id: &str) -> Vec<u8> {
    framed(format!("MSH|^~\\&|||||1||ACK|9|P|2.5\rMSA|{code}|{control_id}\r").as_bytes())
}

#[tokio::test]
async fn an_ack_to_another_message_is_not_taken_for_this_one() {
    let (mut client, mut receiver) = connected(PATIENCE).await;
    receiver.write_all(&[ack("AA", "0"), ack("AR", "1"), ack("AA", "1")].concat()).await.unwrap();
    let got = client.send(&adt("1")).await.unwrap().unwrap();
    assert_eq!(got.code, "AR");
    receiver.write_all(&ack("AA", "2")).await.unwrap();
    assert!(client.send(&adt("2")).await.unwrap().unwrap().is_positive());
    assert_eq!(client.strays(), 2);
}

#[tokio::test]
async fn acks_may_come_in_any_order() {
    let (mut client, mut receiver) = connected(PATIENCE).await;
    for control_id in ["1", "2", "3"] {
        client.post(&adt(control_id)).await.unwrap();
    }
    // The empty MSA-2 is of a receiver that could not read the id; it answers the oldest.
    receiver.write_all(&[ack("AA", "3"), ack("AR", ""), ack("AA", "2")].concat()).await.unwrap();
    let mut tickets = Vec::new();
    while let Some((ticket, ack)) = client.next_ack().await.unwrap() {
        tickets.push((ticket, ack.code));
    }
    assert_eq!(tickets, [(2, "AA".into()), (0, "AR".into()), (1, "AA".into())]);
}

#[tokio::test]
async fn a_missing_ack_is_told_by_its_control_id_and_comes_too_late_for_another() {
    let (mut client, mut receiver) = connected(Duration::from_millis(300)).await;
    let fault = client.send(&adt("lost")).await.unwrap_err();
    assert!(matches!(&fault, ClientError::AckTimeout { control_id, .. } if control_id == "lost"), "{fault}");
    receiver.write_all(&[ack("AE", "lost"), ack("AA", "next")].concat()).await.unwrap();
    assert!(client.send(&adt("next")).await.unwrap().unwrap().is_positive());
}

#[tokio::test]
async fn a_receiver_that_closes_leaves_messages_without_an_answer() {
    let (mut client, mut receiver) = connected(PATIENCE).await;
    client.post(&adt("1")).await.unwrap();
    client.post(&adt("2")).await.unwrap();
    let mut first = vec![0; framed(&adt("1")).len()];
    receiver.read_exact(&mut first).await.unwrap();
    assert_eq!(first, framed(&adt("1")));
    receiver.write_all(&ack("AA", "1")).await.unwrap();
    receiver.read_exact(&mut first).await.unwrap();
    drop(receiver);
    assert!(client.next_ack().await.unwrap().is_some());
    let fault = client.next_ack().await.unwrap_err();
    assert!(matches!(fault, ClientError::Closed { unanswered: 1 }), "{fault}");
}

#[tokio::test]
async fn what_is_no_ack_and_what_cannot_be_framed_are_errors() {
    let (mut client, mut receiver) = connected(PATIENCE).await;
    assert!(matches!(client.send(b"MSH|^~\\&|\x1C").await, Err(ClientError::Send(_))));
    receiver.write_all(&framed(&adt("1"))).await.unwrap();
    assert!(matches!(client.send(&adt("1")).await, Err(ClientError::NotAnAck)));
    let nobody = Client::connect("127.0.0.1:1", PATIENCE).await;
    assert!(matches!(nobody, Err(ClientError::Connect(_))));
}
