//! Bodies are read whole before any handler runs: so much, in so much time, whatever the route.
//!
//! When a chunked body is left unread, actix-http 3.20 reads on until its end, for ever if it has none, as soon as the
//! handler has let go of it. A [`Holding`] answer does not let go: then the connection is closed after the answer.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::time::Duration;

use actix_web::body::{BodySize, BodyStream, BoxBody, EitherBody, MessageBody};
use actix_web::dev::{Payload, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::middleware::Next;
use actix_web::web::{Bytes, BytesMut};
use actix_web::{Error, HttpMessage as _, HttpResponse, web};
use tokio::time::timeout;
use wire::problem::{Problem, ProblemCode};

use super::front::Front;
use super::problem::response;

/// The whole body of a request.
#[derive(Clone)]
pub(super) struct Whole(pub(super) Bytes);

pub(super) type Unread = Pin<Box<BodyStream<Payload>>>;

/// An answer that keeps what was not read of its request.
struct Holding {
    answer: BoxBody,
    _unread: Unread,
}

impl MessageBody for Holding {
    type Error = <BoxBody as MessageBody>::Error;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        self.answer.as_pin_mut().poll_next(cx)
    }
}

/// Read the body and hand it on as a whole.
///
/// # Errors
/// What the handler returns; ours never do.
pub async fn whole<B: MessageBody>(
    front: web::Data<Front>,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let limits = &front.manners.limits;
    let announced = request
        .headers()
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok())
        .and_then(|text| text.parse::<u64>().ok());
    let mut unread = take(&mut request);
    let read = if announced.is_some_and(|length| length > limits.body as u64) {
        Err(Problem::new(ProblemCode::PayloadTooLarge))
    } else {
        read(&mut unread, limits.body, limits.body_timeout).await
    };
    match read {
        Ok(body) => {
            request.extensions_mut().insert(Whole(body));
            Ok(next.call(request).await?.map_into_left_body())
        }
        Err(problem) => {
            let answer = hold(response(&front.manners.base_url, problem), unread);
            Ok(request.into_response(answer).map_into_right_body())
        }
    }
}

/// What is not read yet of a request.
pub(super) fn take(request: &mut ServiceRequest) -> Unread {
    Box::pin(BodyStream::new(request.take_payload()))
}

/// Answer, and close the connection rather than read what is left.
pub(super) fn hold(answer: HttpResponse, unread: Unread) -> HttpResponse {
    answer.map_body(|_, answer| {
        BoxBody::new(Holding {
            answer,
            _unread: unread,
        })
    })
}

async fn read(unread: &mut Unread, limit: usize, time: Duration) -> Result<Bytes, Problem> {
    let malformed = |what: &str| Problem::new(ProblemCode::Malformed).with_detail(what);
    let mut bytes = BytesMut::new();
    let all = async {
        while let Some(chunk) = core::future::poll_fn(|cx| unread.as_mut().poll_next(cx)).await {
            let chunk = chunk.map_err(|_| malformed("the body broke off"))?;
            if chunk.len() > limit - bytes.len() {
                return Err(Problem::new(ProblemCode::PayloadTooLarge));
            }
            bytes.extend_from_slice(&chunk);
        }
        Ok(())
    };
    match timeout(time, all).await {
        Err(_) => Err(malformed("the body took too long")),
        Ok(outcome) => outcome.map(|()| bytes.freeze()),
    }
}
