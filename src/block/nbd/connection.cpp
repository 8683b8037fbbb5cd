#include "block/nbd/connection.h"

#include <poll.h>

#include <algorithm>
#include <cerrno>
#include <chrono>

namespace doppel::block::nbd {
namespace {

constexpr std::uint64_t kUsualPayload = 32 << 20;  // what every server takes

/// The server's limit as a sane number.
std::uint64_t payload_limit(std::int64_t limit, std::uint64_t least_block) {
  std::uint64_t most = limit > 0 ? std::min(static_cast<std::uint64_t>(limit), kUsualPayload) : kUsualPayload;
  most -= most % least_block;
  return std::max(most, least_block);
}

/// The loop's word may be old: what it saw has been read since, behind a write. libnbd 1.14, told so while it sends a
/// payload, would wait for a reply with half of the payload unsent.
bool is_readable(int fd) {
  pollfd socket{.fd = fd, .events = POLLIN, .revents = 0};
  return ::poll(&socket, 1, 0) > 0;
}

}  // namespace

/// What a callback of libnbd is given.
struct Connection::Answer {
  Connection* connection;
  Pending* pending;
  Extent* extent = nullptr;

  static int completed(void* data, int* error) {
    const auto* answer = static_cast<Answer*>(data);
    answer->pending->error = *error;
    answer->connection->finished_.push_back(answer->pending);
    return 1;  // libnbd forgets the request
  }
  static int extents(void* data, const char* /*context*/, std::uint64_t /*offset*/, std::uint32_t* entries,
                     std::size_t count, int* /*error*/) {
    const auto* answer = static_cast<Answer*>(data);
    if (count >= 2 && answer->extent->length == 0) *answer->extent = {entries[0], entries[1]};
    return 0;
  }
};

Result<std::shared_ptr<Connection>> Connection::connect(Context& context, const Location& location,
                                                        const std::string& name) {
  DOPPEL_ASSIGN(auto nbd, Libnbd::load());
  nbd_handle* handle = nbd->create();
  if (handle == nullptr) return fail(ErrorKind::kInternal, "libnbd: {}", nbd->get_error());
  std::shared_ptr<Connection> made(new Connection(context.loop(), std::move(nbd), handle));
  DOPPEL_TRY(made->open(location, name));
  return made;
}

Connection::~Connection() {
  readable_.reset();
  writable_.reset();
  nbd_->close(handle_);
}

std::unexpected<Error> Connection::failure(const std::string& name) const {
  const char* why = nbd_->get_error();
  std::string text = why != nullptr ? why : "unknown error";
  // "nbd_poll: what went wrong": the function's name tells the user nothing.
  if (const std::size_t colon = text.find(": "); text.starts_with("nbd_") && colon != std::string::npos)
    text.erase(0, colon + 2);
  return fail(ErrorKind::kIo, "cannot open '{}': {}", name, text);
}

Result<> Connection::open(const Location& location, const std::string& name) {
  const bool prepared = nbd_->set_full_info(handle_, true) == 0 && nbd_->set_pread_initialize(handle_, false) == 0 &&
                        nbd_->set_uri_allow_local_file(handle_, true) == 0 &&
                        nbd_->add_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION) == 0 &&
                        nbd_->set_export_name(handle_, location.export_name.c_str()) == 0;
  if (!prepared) return failure(name);
  int begun = 0;
  if (!location.uri.empty())
    begun = nbd_->aio_connect_uri(handle_, location.uri.c_str());
  else if (!location.socket_path.empty())
    begun = nbd_->aio_connect_unix(handle_, location.socket_path.c_str());
  else
    begun = nbd_->aio_connect_tcp(handle_, location.host.c_str(), location.port.c_str());
  if (begun != 0) return failure(name);
  DOPPEL_TRY(wait_until_ready(name));
  return learn(name);
}

Result<> Connection::wait_until_ready(const std::string& name) {
  using Clock = std::chrono::steady_clock;
  const auto deadline = Clock::now() + std::chrono::seconds(kConnectSeconds);
  while (nbd_->aio_is_ready(handle_) != 1) {
    if (nbd_->aio_is_dead(handle_) == 1 || nbd_->aio_is_closed(handle_) == 1) return failure(name);
    const auto left = std::chrono::duration_cast<std::chrono::milliseconds>(deadline - Clock::now()).count();
    if (left <= 0)
      return fail(ErrorKind::kIo, "cannot open '{}': the server has not answered for {} seconds", name,
                  kConnectSeconds);
    if (nbd_->poll(handle_, static_cast<int>(left)) < 0) return failure(name);
  }
  return {};
}

Result<> Connection::learn(const std::string& name) {
  const std::int64_t size = nbd_->get_size(handle_);
  if (size < 0) return failure(name);
  const std::int64_t least = nbd_->get_block_size(handle_, LIBNBD_SIZE_MINIMUM);
  facts_.size = static_cast<std::uint64_t>(size);
  facts_.least_block = least > 1 ? static_cast<std::uint64_t>(least) : 1;
  constexpr std::uint64_t kMostBlock = 64 << 10;  // the specification's
  if (facts_.least_block > kMostBlock || (facts_.least_block & (facts_.least_block - 1)) != 0)
    return fail(ErrorKind::kUnsupported, "cannot open '{}': the server wants blocks of {} bytes", name,
                facts_.least_block);
  facts_.most_payload = payload_limit(nbd_->get_block_size(handle_, LIBNBD_SIZE_MAXIMUM), facts_.least_block);
  facts_.read_only = nbd_->is_read_only(handle_) == 1;
  facts_.can_flush = nbd_->can_flush(handle_) == 1;
  facts_.can_trim = nbd_->can_trim(handle_) == 1;
  facts_.can_zero = nbd_->can_zero(handle_) == 1;
  facts_.knows_allocation = nbd_->can_meta_context(handle_, LIBNBD_CONTEXT_BASE_ALLOCATION) == 1;
  return {};
}

void Connection::start() {
  started_ = true;
  update_watches();
}

void Connection::stop() {
  if (!std::exchange(started_, false)) return;
  (void)nbd_->aio_disconnect(handle_, 0);
  readable_.reset();
  writable_.reset();
}

void Connection::update_watches() {
  const bool gone = !started_ || nbd_->aio_is_dead(handle_) == 1 || nbd_->aio_is_closed(handle_) == 1;
  const unsigned direction = gone ? 0 : nbd_->aio_get_direction(handle_);
  const auto set = [&](std::unique_ptr<event::FdWatch>& watch, bool wanted, event::FdReady kind) {
    if (!wanted) watch.reset();
    if (!wanted || watch != nullptr) return;
    watch = loop_.watch_fd(nbd_->aio_get_fd(handle_), kind, [this, kind] { turn(kind == event::FdReady::kReadable); });
  };
  set(readable_, (direction & LIBNBD_AIO_DIRECTION_READ) != 0, event::FdReady::kReadable);
  set(writable_, (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0, event::FdReady::kWritable);
}

void Connection::turn(bool readable) {
  const auto keep = shared_from_this();  // whoever is resumed may let go of this
  const unsigned direction = nbd_->aio_get_direction(handle_);
  const bool has_reply = readable && is_readable(nbd_->aio_get_fd(handle_));
  if (has_reply && (direction & LIBNBD_AIO_DIRECTION_READ) != 0) (void)nbd_->aio_notify_read(handle_);
  if (!readable && (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0) (void)nbd_->aio_notify_write(handle_);
  finish_all();
  update_watches();
}

void Connection::finish_all() {
  while (!finished_.empty()) {
    Pending* pending = finished_.front();
    finished_.pop_front();
    pending->done.complete(true);
  }
}

/// BEGIN(answer) hands the request to libnbd; below 0: it does not take it.
template <class Begin>
Task<int> Connection::request(Begin begin) {
  Pending pending;
  Answer answer{.connection = this, .pending = &pending};
  if (begin(answer) < 0) {
    const int code = nbd_->get_errno();
    co_return code > 0 ? code : EIO;
  }
  update_watches();
  // It failed already: whoever is to hear of that must be back in the loop first.
  if (!finished_.empty()) loop_.post([keep = shared_from_this()] { keep->finish_all(); });
  co_await pending.done;
  co_return pending.error;
}

Task<int> Connection::read(std::uint64_t offset, std::span<std::byte> to) {
  co_return co_await request([&](Answer& answer) {
    const nbd_completion_callback done{.callback = &Answer::completed, .user_data = &answer, .free = nullptr};
    return nbd_->aio_pread(handle_, to.data(), to.size(), offset, done, 0);
  });
}

Task<int> Connection::write(std::uint64_t offset, std::span<const std::byte> from) {
  co_return co_await request([&](Answer& answer) {
    const nbd_completion_callback done{.callback = &Answer::completed, .user_data = &answer, .free = nullptr};
    return nbd_->aio_pwrite(handle_, from.data(), from.size(), offset, done, 0);
  });
}

Task<int> Connection::flush() {
  co_return co_await request([&](Answer& answer) {
    const nbd_completion_callback done{.callback = &Answer::completed, .user_data = &answer, .free = nullptr};
    return nbd_->aio_flush(handle_, done, 0);
  });
}

Task<int> Connection::trim(std::uint64_t offset, std::uint64_t length) {
  co_return co_await request([&](Answer& answer) {
    const nbd_completion_callback done{.callback = &Answer::completed, .user_data = &answer, .free = nullptr};
    return nbd_->aio_trim(handle_, length, offset, done, 0);
  });
}

Task<int> Connection::zero(std::uint64_t offset, std::uint64_t length, bool may_unmap) {
  co_return co_await request([&](Answer& answer) {
    const nbd_completion_callback done{.callback = &Answer::completed, .user_data = &answer, .free = nullptr};
    return nbd_->aio_zero(handle_, length, offset, done, may_unmap ? 0 : LIBNBD_CMD_FLAG_NO_HOLE);
  });
}

Task<int> Connection::extent(std::uint64_t offset, std::uint64_t length, Extent& found) {
  found = {};
  co_return co_await request([&](Answer& answer) {
    answer.extent = &found;
    const nbd_extent_callback each{.callback = &Answer::extents, .user_data = &answer, .free = nullptr};
    const nbd_completion_callback done{.callback = &Answer::completed, .user_data = &answer, .free = nullptr};
    return nbd_->aio_block_status(handle_, length, offset, each, done, LIBNBD_CMD_FLAG_REQ_ONE);
  });
}

}  // namespace doppel::block::nbd
