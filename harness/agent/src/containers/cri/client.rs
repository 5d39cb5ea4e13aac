//! CRI's client: calls of the gRPC API on containerd's socket, one after the other.
//!
//! tonic is used because HTTP/2 with its flow control is too much to write by hand for a test.
//! It is linked without server, TLS and generated code.
//! A runtime on the caller's own thread drives the connection while a call waits; nothing runs between calls.

use super::messages::{VersionRequest, VersionResponse};
use super::refused::RefusalCause;
use model::program_version::ProgramVersion;
use model::sync::locked;
use prost::Message;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

/// The service of pods and containers.
pub(super) const RUNTIME: &str = "RuntimeService";
/// The service of images.
pub(super) const IMAGES: &str = "ImageService";

/// The version of the API that kubelet has supported since Kubernetes 1.23, and exclusively since 1.26.
const V1: &str = "runtime.v1";
/// The preceding version.
const V1ALPHA2: &str = "runtime.v1alpha2";

/// Reasons why a call returned no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallError {
    /// The server refused, with its own message.
    #[error("{call}: {message}")]
    Refused {
        /// The call.
        call: String,
        /// Message of the server.
        message: String,
        /// The cause in the message.
        cause: RefusalCause,
    },
    /// The call took too long.
    #[error("{call} took longer than {seconds} s")]
    Late {
        /// The call.
        call: String,
        /// The deadline.
        seconds: u64,
    },
    /// The server does not know the service.
    #[error("{call}: the server has no such service")]
    Unknown {
        /// The call.
        call: String,
    },
    /// The connection could not be made, or was lost.
    #[error("{call}: no connection: {message}")]
    Lost {
        /// The call.
        call: String,
        /// Reason.
        message: String,
    },
}

/// API versions of a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SupportedCri {
    /// The current version; with the server's own version, if it states one.
    V1(Option<ProgramVersion>),
    /// Only the preceding version; likewise.
    OnlyV1Alpha2(Option<ProgramVersion>),
    /// Neither: the server's CRI plugin is not loaded.
    Neither,
}

/// A connection to a containerd.
pub(super) struct Client {
    runtime: tokio::runtime::Runtime,
    /// Reconnects by itself after a restart of containerd.
    channel: Mutex<Channel>,
}

impl Client {
    /// Makes a client for the containerd on this socket; the first call connects.
    pub(super) fn new(socket: &Path) -> std::io::Result<Client> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let address = format!("unix://{}", socket.display());
        let endpoint = Endpoint::from_shared(address).map_err(std::io::Error::other)?;
        // The channel starts its own tasks in the current runtime.
        let channel = runtime.block_on(async { endpoint.connect_lazy() });
        Ok(Client { runtime, channel: Mutex::new(channel) })
    }

    /// Returns the API version of the server.
    ///
    /// # Errors
    /// Any other result: no connection, another refusal.
    pub(super) fn supported_cri(&self, deadline: Duration) -> Result<SupportedCri, CallError> {
        let query = |version| {
            let request = VersionRequest { version: "v1".to_owned() };
            self.call_of::<_, VersionResponse>(version, RUNTIME, "Version", request, deadline)
        };
        match query(V1) {
            Ok(reply) => return Ok(SupportedCri::V1(reply.runtime_version.parse().ok())),
            Err(CallError::Unknown { .. }) => {}
            Err(other) => return Err(other),
        }
        match query(V1ALPHA2) {
            Ok(reply) => Ok(SupportedCri::OnlyV1Alpha2(reply.runtime_version.parse().ok())),
            Err(CallError::Unknown { .. }) => Ok(SupportedCri::Neither),
            Err(other) => Err(other),
        }
    }

    /// Makes a call of CRI v1.
    ///
    /// # Errors
    /// The server's refusal, or the reason for the missing answer.
    pub(super) fn call<Q, A>(&self, service: &str, method: &str, request: Q, deadline: Duration) -> Result<A, CallError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        self.call_of(V1, service, method, request, deadline)
    }

    fn call_of<Q, A>(
        &self,
        version: &str,
        service: &str,
        method: &str,
        request: Q,
        deadline: Duration,
    ) -> Result<A, CallError>
    where
        Q: Message + Send + Sync + 'static,
        A: Message + Default + Send + Sync + 'static,
    {
        let call = method.to_owned();
        let path = PathAndQuery::try_from(format!("/{version}.{service}/{method}"))
            .map_err(|e| CallError::Lost { call: call.clone(), message: e.to_string() })?;
        let channel = locked(&self.channel).clone();
        let answer = self.runtime.block_on(async move {
            tokio::time::timeout(deadline, async move {
                let mut grpc = Grpc::new(channel);
                grpc.ready().await.map_err(|e| Status::unavailable(in_full(&e)))?;
                let answer = grpc.unary(Request::new(request), path, ProstCodec::<Q, A>::default()).await?;
                Ok::<A, Status>(answer.into_inner())
            })
            .await
        });
        match answer {
            Err(_elapsed) => Err(CallError::Late { call, seconds: deadline.as_secs() }),
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(status)) => Err(meaning(call, &status, deadline)),
        }
    }
}

fn meaning(call: String, status: &Status, deadline: Duration) -> CallError {
    let message = status.message().to_owned();
    match status.code() {
        // The server lacks the service, or it is CRI of 1.4 to 1.7 before the plugin is loaded.
        Code::Unimplemented => CallError::Unknown { call },
        Code::DeadlineExceeded => CallError::Late { call, seconds: deadline.as_secs() },
        Code::Unavailable => CallError::Lost { call, message },
        _ => CallError::Refused { call, cause: RefusalCause::of(&message), message },
    }
}

/// Returns an error with all its causes, because the outermost transport error has no details.
fn in_full(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_unimplemented_means_that_the_service_is_unknown() {
        let meant = |code| meaning("Version".to_owned(), &Status::new(code, "words"), Duration::from_secs(3));
        assert!(matches!(meant(Code::Unimplemented), CallError::Unknown { .. }));
        assert!(matches!(meant(Code::Unavailable), CallError::Lost { .. }));
        assert_eq!(meant(Code::DeadlineExceeded).to_string(), "Version took longer than 3 s");
        assert_eq!(meant(Code::NotFound).to_string(), "Version: words");
    }

    #[test]
    fn a_socket_without_a_server_is_a_lost_connection() {
        let dir = tempfile::tempdir().unwrap();
        let client = Client::new(&dir.path().join("sock")).unwrap();
        let error = client.supported_cri(Duration::from_secs(5)).unwrap_err();
        assert!(matches!(error, CallError::Lost { .. }), "{error}");
    }
}
