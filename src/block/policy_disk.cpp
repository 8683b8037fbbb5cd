#include "block/policy_disk.h"

#include <fmt/format.h>

#include <utility>

#include "block/io_view.h"

namespace doppel::block {

PolicyDisk::PolicyDisk(std::unique_ptr<Disk> disk, ErrorPolicy policy, Stopped stopped)
    : owned_(std::move(disk)), disk_(*owned_), policy_(policy), stopped_(std::move(stopped)) {}

PolicyDisk::~PolicyDisk() {
  ending_ = true;
  abandon();
  owned_.reset();  // waits for what is under way, which comes back here
}

void PolicyDisk::read(std::uint64_t offset, Buffers buffers, Done done) {
  if (policy_.reads == ErrorAction::kReport) return disk_.read(offset, std::move(buffers), std::move(done));
  const std::uint64_t length = IoView(std::span<const iovec>(buffers)).size();
  auto begin = [offset, buffers = std::move(buffers)](Disk& disk, Done then) {
    disk.read(offset, buffers, std::move(then));
  };
  attempt("reading", policy_.reads, offset, length, std::move(begin), std::move(done));
}

void PolicyDisk::write(std::uint64_t offset, Buffers buffers, Done done) {
  if (policy_.writes == ErrorAction::kReport) return disk_.write(offset, std::move(buffers), std::move(done));
  const std::uint64_t length = IoView(std::span<const iovec>(buffers)).size();
  auto begin = [offset, buffers = std::move(buffers)](Disk& disk, Done then) {
    disk.write(offset, buffers, std::move(then));
  };
  attempt("writing", policy_.writes, offset, length, std::move(begin), std::move(done));
}

void PolicyDisk::write_zeroes(std::uint64_t offset, std::uint64_t length, bool may_unmap, Done done) {
  auto begin = [offset, length, may_unmap](Disk& disk, Done then) {
    disk.write_zeroes(offset, length, may_unmap, std::move(then));
  };
  attempt("zeroing", policy_.writes, offset, length, std::move(begin), std::move(done));
}

void PolicyDisk::discard(std::uint64_t offset, std::uint64_t length, Done done) {
  auto begin = [offset, length](Disk& disk, Done then) { disk.discard(offset, length, std::move(then)); };
  attempt("discarding", policy_.writes, offset, length, std::move(begin), std::move(done));
}

void PolicyDisk::flush(Done done) {
  attempt(
      "flushing", policy_.writes, 0, 0, [](Disk& disk, Done then) { disk.flush(std::move(then)); }, std::move(done));
}

void PolicyDisk::attempt(std::string_view verb, ErrorAction action, std::uint64_t offset, std::uint64_t length,
                         Begin begin, Done done) {
  begin_request(std::make_shared<Request>(Request{verb, offset, length, action, std::move(begin), std::move(done)}));
}

void PolicyDisk::begin_request(const std::shared_ptr<Request>& request) {
  request->begun = answers_;
  request->begin(disk_, [this, request](Result<> result) { finish(request, std::move(result)); });
}

void PolicyDisk::finish(const std::shared_ptr<Request>& request, Result<> result) {
  if (result) return request->done(std::move(result));
  switch (resolve(request->action, result.error())) {
    case ErrorAction::kIgnore: return request->done({});
    case ErrorAction::kStop: {
      if (ending_ || request->begun < abandoned_) break;
      if (request->begun < answers_) return begin_request(request);
      const std::string what = request->length == 0
                                   ? std::string(request->verb)
                                   : fmt::format("{} {} bytes at {}", request->verb, request->length, request->offset);
      Error error = std::move(result).error().wrap(what);
      held_.push_back({request, error});
      return stopped_(error, answers_);
    }
    default: break;
  }
  request->done(std::move(result));
}

void PolicyDisk::retry() {
  ++answers_;
  for (const Held& held : std::exchange(held_, {})) begin_request(held.request);
}

void PolicyDisk::abandon() {
  abandoned_ = ++answers_;
  for (Held& held : std::exchange(held_, {})) held.request->done(std::unexpected(std::move(held.error)));
}

}  // namespace doppel::block
