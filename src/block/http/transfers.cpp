#include "block/http/transfers.h"

namespace doppel::block::http {

namespace {

constexpr long kMostConnections = 8;  // more transfers wait

}  // namespace

Result<std::shared_ptr<Transfers>> Transfers::create(event::Loop& loop, std::shared_ptr<const Libcurl> curl) {
  CURLM* multi = curl->multi_init();
  if (multi == nullptr) return fail(ErrorKind::kInternal, "libcurl does not start");
  return std::shared_ptr<Transfers>(new Transfers(loop, std::move(curl), multi));
}

Transfers::Transfers(event::Loop& loop, std::shared_ptr<const Libcurl> curl, CURLM* multi)
    : loop_(loop),
      curl_(std::move(curl)),
      multi_(multi),
      timer_(loop.realtime_clock().create_timer([this] { act(CURL_SOCKET_TIMEOUT, 0); })) {
  const auto set = [&](CURLMoption option, auto value) { (void)curl_->multi_setopt(multi_, option, value); };
  set(CURLMOPT_SOCKETFUNCTION, &Transfers::on_socket);
  set(CURLMOPT_SOCKETDATA, static_cast<void*>(this));
  set(CURLMOPT_TIMERFUNCTION, &Transfers::on_timeout);
  set(CURLMOPT_TIMERDATA, static_cast<void*>(this));
  set(CURLMOPT_MAX_HOST_CONNECTIONS, kMostConnections);
}

Transfers::~Transfers() {
  curl_->multi_cleanup(multi_);
}

int Transfers::on_socket(CURL* /*easy*/, curl_socket_t fd, int what, void* user, void* /*socket_user*/) {
  auto* transfers = static_cast<Transfers*>(user);
  if (what == CURL_POLL_REMOVE) {
    transfers->watches_.erase(fd);
    return 0;
  }
  Watches& watches = transfers->watches_[fd];
  const auto set = [&](std::unique_ptr<event::FdWatch>& watch, int wanted, int event, event::FdReady kind) {
    if ((what & wanted) == 0) watch.reset();
    if ((what & wanted) == 0 || watch != nullptr) return;
    watch = transfers->loop_.watch_fd(fd, kind, [transfers, fd, event] { transfers->act(fd, event); });
  };
  set(watches.readable, CURL_POLL_IN, CURL_CSELECT_IN, event::FdReady::kReadable);
  set(watches.writable, CURL_POLL_OUT, CURL_CSELECT_OUT, event::FdReady::kWritable);
  return 0;
}

int Transfers::on_timeout(CURLM* /*multi*/, long timeout_ms, void* user) {
  auto* transfers = static_cast<Transfers*>(user);
  if (timeout_ms < 0)
    transfers->timer_->cancel();
  else
    transfers->timer_->arm(transfers->loop_.realtime_clock().now_ns() + timeout_ms * event::kNsPerMillisecond);
  return 0;
}

void Transfers::act(curl_socket_t fd, int events) {
  const auto keep = shared_from_this();
  int running = 0;
  (void)curl_->multi_socket_action(multi_, fd, events, &running);
  int left = 0;
  while (const CURLMsg* message = curl_->multi_info_read(multi_, &left)) {
    if (message->msg != CURLMSG_DONE) continue;
    CURL* handle = message->easy_handle;
    const CURLcode code = message->data.result;
    void* request = nullptr;
    (void)curl_->easy_getinfo(handle, CURLINFO_PRIVATE, &request);
    (void)curl_->multi_remove_handle(multi_, handle);
    static_cast<RangeRequest*>(request)->done.complete(code);
  }
}

Task<Result<>> Transfers::run(RangeRequest& request) {
  if (request.handle() == nullptr || curl_->multi_add_handle(multi_, request.handle()) != CURLM_OK)
    co_return fail(ErrorKind::kNoSpace, "libcurl has no memory for another transfer");
  const CURLcode code = co_await request.done;
  co_return request.result(code);
}

}  // namespace doppel::block::http
