//! The CapabilityStatement says what the mailbox does: every route is declared, everything declared is there.

use std::collections::BTreeSet;

use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use stoker::mailbox::ROUTES;

use super::Server;
use super::build::admin;

/// The routes that an interaction of a resource needs.
fn routes(name: &str, interaction: &str) -> Vec<(&'static str, String)> {
    match interaction {
        "read" => vec![("GET", format!("/{name}/{{id}}"))],
        "vread" => vec![("GET", format!("/{name}/{{id}}/_history/{{version}}"))],
        "history-instance" => vec![("GET", format!("/{name}/{{id}}/_history"))],
        // FHIR R4 http 3.1.0.4.2.1: a server takes both.
        "search-type" => vec![("GET", format!("/{name}")), ("POST", format!("/{name}/_search"))],
        "create" => vec![("POST", format!("/{name}"))],
        other => panic!("{other} is declared and has no route in this test"),
    }
}

fn declared(statement: &Value) -> BTreeSet<(String, String)> {
    let mut all = vec![("GET", "/metadata".to_owned())];
    let rest = &statement["rest"][0];
    for resource in rest["resource"].as_array().unwrap() {
        let name = resource["type"].as_str().unwrap();
        for interaction in resource["interaction"].as_array().unwrap() {
            all.extend(routes(name, interaction["code"].as_str().unwrap()));
        }
        for operation in resource["operation"].as_array().into_iter().flatten() {
            all.push(("GET", format!("/{name}/${}", operation["name"].as_str().unwrap())));
        }
    }
    for operation in rest["operation"].as_array().unwrap() {
        all.push(("POST", format!("/${}", operation["name"].as_str().unwrap())));
    }
    all.into_iter().map(|(method, path)| (method.to_owned(), path)).collect()
}

/// The routes that are served, those of any type written out for each type that the mailbox stores.
fn served() -> BTreeSet<(String, String)> {
    let types = ["Patient", "Encounter", "Condition", "Procedure", "Observation", "AllergyIntolerance", "Location"];
    let write_out = |(method, path): &(&str, &str)| -> Vec<(String, String)> {
        if !path.contains("{type}") {
            return vec![((*method).to_owned(), (*path).to_owned())];
        }
        types.iter().map(|name| ((*method).to_owned(), path.replace("{type}", name))).collect()
    };
    ROUTES.iter().flat_map(write_out).collect()
}

#[tokio::test]
async fn what_is_declared_is_what_is_served() {
    let server = Server::start().await;
    let statement = server.get("metadata").await.json;
    assert_eq!(declared(&statement), served());
}

#[tokio::test]
async fn every_route_answers_and_nothing_else_does() {
    let server = Server::start().await;
    let client = reqwest::Client::new();
    for (method, path) in served() {
        let url = format!("{}{}", server.base, path.replace("{id}", "x").replace("{version}", "1"));
        let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), &url).body("{}");
        let reply = request.header("content-type", "application/fhir+json").send().await.unwrap();
        assert_ne!(reply.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        let outcome: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        let no_route = outcome["issue"][0]["diagnostics"].as_str().is_some_and(|text| text.contains("nothing at"));
        assert!(!no_route, "{method} {path}");
    }
    for (method, path) in
        [("DELETE", "/Patient/x"), ("PUT", "/Patient/x"), ("POST", "/Patient"), ("GET", "/$process-message")]
    {
        let request = client.request(Method::from_bytes(method.as_bytes()).unwrap(), format!("{}{path}", server.base));
        let reply = request.send().await.unwrap();
        assert_eq!(reply.status(), StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        let outcome: Value = serde_json::from_str(&reply.text().await.unwrap()).unwrap();
        assert_eq!(outcome["resourceType"], "OperationOutcome", "{method} {path}");
    }
    for path in ["Practitioner", "Practitioner/x", "a/b/c/d/e", "MessageHeader?x=y"] {
        let reply = server.get(path).await;
        assert_eq!(reply.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(reply.json["resourceType"], "OperationOutcome", "{path}");
    }
}

#[tokio::test]
async fn every_declared_search_parameter_is_taken() {
    let server = Server::start().await;
    server.accept(&admin("A01").patient("1", json!({})).visit("V1", "1", json!({}))).await;
    let statement = server.get("metadata").await.json;
    for resource in statement["rest"][0]["resource"].as_array().unwrap() {
        let name = resource["type"].as_str().unwrap();
        for param in resource["searchParam"].as_array().unwrap() {
            let value = match (param["type"].as_str().unwrap(), param["name"].as_str().unwrap()) {
                ("date", _) => "ge2024-01-01",
                ("reference", "message") => continue,
                ("reference", "target") => "Patient/x",
                (_, "identifier") => "urn:x|1",
                _ => "x",
            };
            let search = format!("{name}?{}={value}", param["name"].as_str().unwrap());
            assert_eq!(server.get(&search).await.status, StatusCode::OK, "{search}");
        }
        for include in resource["searchInclude"].as_array().into_iter().flatten() {
            let search = format!("{name}?_include={}", include.as_str().unwrap());
            assert_eq!(server.get(&search).await.status, StatusCode::OK, "{search}");
        }
        for include in resource["searchRevInclude"].as_array().into_iter().flatten() {
            let search = format!("{name}?_revinclude={}", include.as_str().unwrap());
            assert_eq!(server.get(&search).await.status, StatusCode::OK, "{search}");
        }
    }
}
