//! One HTTP request, as it stands, of which only the status is wanted.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use super::load::connect;

const PATIENCE: Duration = Duration::from_secs(60);

/// The status that is answered, or why there is none.
pub async fn ask(from: IpAddr, to: SocketAddr, request: &str) -> String {
    let asked = async {
        let stream = connect(Some(from), to).await?;
        let (mut reader, mut writer) = stream.into_split();
        // An answer may come before all was sent: a refusal does.
        let sent = async { writer.write_all(request.as_bytes()).await };
        let answer = async {
            let mut answer = Vec::new();
            reader.read_to_end(&mut answer).await.ok();
            answer
        };
        let (_, answer) = tokio::join!(sent, answer);
        std::io::Result::Ok(answer)
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(answer)) if answer.len() >= 12 => String::from_utf8_lossy(&answer[9..12]).into_owned(),
        Ok(Ok(_)) => "closed".to_owned(),
        Ok(Err(_)) => "no connection".to_owned(),
        Err(_) => "no answer in a minute".to_owned(),
    }
}
