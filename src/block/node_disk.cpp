#include "block/node_disk.h"

#include "base/bits.h"

namespace doppel::block {

namespace {

constexpr std::uint64_t kSector = 512;

std::uint64_t total_length(const Buffers& buffers) {
  return IoView(std::span<const iovec>(buffers)).size();
}

}  // namespace

NodeDisk::NodeDisk(Context& context, NodePtr node, NodeDiskOptions options)
    : context_(context),
      node_(std::move(node)),
      options_(options),
      size_(align_down(node_->size(), kSector)),
      read_only_(node_->read_only()) {}

NodeDisk::~NodeDisk() {
  // Nobody is left to tell of an error; whoever flushed knows what is safe.
  (void)run_to_end(context_.loop(), finish_and_close());
}

Task<Result<>> NodeDisk::finish_and_close() {
  node_->hurry();
  for (;;) {
    co_await LoopTurn(context_.loop());  // behind every begin_queued() that was posted
    if (!busy()) co_return co_await node_->close();
  }
}

void NodeDisk::read(std::uint64_t offset, Buffers buffers, Done done) {
  const std::uint64_t length = total_length(buffers);
  enqueue({.kind = Kind::kRead,
           .offset = offset,
           .length = length,
           .buffers = std::move(buffers),
           .done = std::move(done)});
}

void NodeDisk::write(std::uint64_t offset, Buffers buffers, Done done) {
  const std::uint64_t length = total_length(buffers);
  enqueue({.kind = Kind::kWrite,
           .offset = offset,
           .length = length,
           .buffers = std::move(buffers),
           .done = std::move(done)});
}

void NodeDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap, Done done) {
  const Unmap unmap = may_unmap && options_.discard ? Unmap::kMayUnmap : Unmap::kKeep;
  enqueue({.kind = Kind::kWriteZeroes, .offset = offset, .length = length, .unmap = unmap, .done = std::move(done)});
}

void NodeDisk::discard(std::uint64_t offset, std::uint64_t length, Done done) {
  enqueue({.kind = Kind::kDiscard, .offset = offset, .length = length, .done = std::move(done)});
}

void NodeDisk::flush(Done done) {
  enqueue({.kind = Kind::kFlush, .done = std::move(done)});
}

void NodeDisk::enqueue(Request request) {
  ++under_way_;
  bool first;
  {
    const std::scoped_lock lock(mutex_);
    first = queue_.empty();
    queue_.push_back(std::move(request));
  }
  // Whatever else comes before the loop gets there goes with the first.
  if (first) context_.loop().post([this] { begin_queued(); });
}

void NodeDisk::begin_queued() {
  std::vector<Request> requests;
  {
    const std::scoped_lock lock(mutex_);
    requests.swap(queue_);
  }
  for (Request& request : requests) {
    Done done = std::move(request.done);
    spawn(serve(std::move(request)), [this, finished = std::move(done)](Result<> result) {
      finished(std::move(result));
      --under_way_;
    });
  }
}

Result<> NodeDisk::check(const Request& request) const {
  if (!is_aligned(request.offset, kSector) || !is_aligned(request.length, kSector))
    return fail(ErrorKind::kOutOfRange, "a request of {} bytes at offset {} is not of whole sectors", request.length,
                request.offset);
  if (request.offset > size_ || request.length > size_ - request.offset)
    return fail(ErrorKind::kOutOfRange,
                "a request of {} bytes at offset {} goes beyond the end of the disk of {} bytes", request.length,
                request.offset, size_);
  const bool changes = request.kind != Kind::kRead && request.kind != Kind::kFlush;
  if (changes && read_only_) return fail(ErrorKind::kPermissionDenied, "the disk is read-only");
  return {};
}

Task<Result<>> NodeDisk::carry_out(const Request& request) {
  const IoView view{std::span<const iovec>(request.buffers)};
  switch (request.kind) {
    case Kind::kRead: co_return co_await node_->read(request.offset, view);
    case Kind::kWrite: co_return co_await node_->write(request.offset, view);
    case Kind::kWriteZeroes: co_return co_await node_->write_zeroes(request.offset, request.length, request.unmap);
    case Kind::kDiscard:
      if (!options_.discard) co_return Result<>{};
      co_return co_await node_->discard(request.offset, request.length);
    case Kind::kFlush:
      if (read_only_) co_return Result<>{};
      co_return co_await node_->flush();
  }
  co_return Result<>{};
}

Task<Result<>> NodeDisk::serve(Request request) {
  DOPPEL_CO_TRY(check(request));
  DOPPEL_CO_TRY(co_await carry_out(request));
  const bool durable = options_.write_cache || (request.kind != Kind::kWrite && request.kind != Kind::kWriteZeroes);
  if (!durable) DOPPEL_CO_TRY(co_await node_->flush());
  co_return Result<>{};
}

}  // namespace doppel::block
