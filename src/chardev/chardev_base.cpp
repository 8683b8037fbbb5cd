#include "chardev/chardev_base.h"

#include <fcntl.h>

#include <algorithm>

#include "chardev/fd_util.h"

namespace doppel::chardev {

ChardevBase::ChardevBase(std::string id, event::Loop& loop, Logger log)
    : id_(std::move(id)), loop_(loop), log_(std::move(log)) {}

ChardevBase::~ChardevBase() {
  write_log();
}

Result<> ChardevBase::open_log(const ChardevConfig& config) {
  if (config.logfile.empty()) return {};
  const int mode = config.logappend ? O_APPEND : O_TRUNC;
  log_fd_.reset(open(config.logfile.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | mode, 0666));
  if (!log_fd_.valid()) return fail_errno("chardev '{}': open log file '{}'", id_, config.logfile);
  const std::scoped_lock lock(mutex_);
  logging_ = true;
  return {};
}

std::size_t ChardevBase::write(std::span<const std::byte> bytes) {
  bool must_post = false;
  std::size_t taken = bytes.size();
  {
    const std::scoped_lock lock(mutex_);
    if (!accepting_ && !logging_) return taken;
    if (accepting_) taken = std::min(taken, kQueueLimit - std::min(queued_, kQueueLimit));
    if (logging_) taken = std::min(taken, kQueueLimit - std::min(log_pending_.size(), kQueueLimit));
    const auto head = bytes.first(taken);
    if (accepting_) {
      pending_.insert(pending_.end(), head.begin(), head.end());
      queued_ += taken;
    }
    if (logging_) log_pending_.insert(log_pending_.end(), head.begin(), head.end());
    if (taken < bytes.size()) short_write_ = true;
    must_post = !flush_posted_;
    flush_posted_ = true;
  }
  if (must_post) post([this] { flush(); });
  return taken;
}

void ChardevBase::connect(Frontend frontend) {
  frontend_ = std::make_shared<Frontend>(std::move(frontend));
  post([this, weak = std::weak_ptr<Frontend>(frontend_)] {
    if (weak.lock() != frontend_) return;
    if (open_) send_event(CharEvent::kOpened);
    input_stalled_ = false;
    resume_input();
  });
}

void ChardevBase::accept_input() {
  if (input_stalled_.exchange(false)) post([this] { resume_input(); });
}

bool ChardevBase::next_chunk() {
  const std::scoped_lock lock(mutex_);
  queued_ -= std::min(queued_, sending_.size());
  sending_.clear();
  sent_ = 0;
  sending_.swap(pending_);
  return !sending_.empty();
}

void ChardevBase::flush() {
  {
    const std::scoped_lock lock(mutex_);
    flush_posted_ = false;
  }
  write_log();
  while (sent_ < sending_.size() || next_chunk()) {
    const auto rest = std::span(std::as_const(sending_)).subspan(sent_);
    const std::size_t size = rest.size();
    const std::size_t taken = transmit(rest);
    sent_ = std::min(sent_ + taken, sending_.size());  // transmit() may have closed and emptied the queue
    if (taken < size) break;
  }
  offer_room();
}

/// Waits for the queue to be half empty, so that a frontend is not woken for every byte.
void ChardevBase::offer_room() {
  {
    const std::scoped_lock lock(mutex_);
    if (!short_write_ || (accepting_ && queued_ - sent_ > kQueueLimit / 2)) return;
    short_write_ = false;
  }
  if (const auto frontend = frontend_; frontend && frontend->can_write) frontend->can_write();
}

void ChardevBase::write_log() {
  std::vector<std::byte> text;
  {
    const std::scoped_lock lock(mutex_);
    text.swap(log_pending_);
  }
  if (text.empty() || write_all(log_fd_.get(), text)) return;
  log_.error("chardev '{}': the log file cannot be written; logging stops", id_);
  const std::scoped_lock lock(mutex_);
  logging_ = false;
}

void ChardevBase::set_open(bool open) {
  if (open == open_) return;
  open_ = open;
  {
    const std::scoped_lock lock(mutex_);
    accepting_ = open;
    if (!open) {
      pending_.clear();
      queued_ = 0;
    }
  }
  if (!open) {
    sending_.clear();
    sent_ = 0;
    post([this] { offer_room(); });
  }
  send_event(open ? CharEvent::kOpened : CharEvent::kClosed);
}

std::size_t ChardevBase::room() {
  const auto frontend = frontend_;
  if (!frontend || !frontend->can_receive) return 0;
  if (const std::size_t size = frontend->can_receive(); size != 0) return size;
  // Asked again after the flag is up: the frontend may have made room in between, and would not say so twice.
  input_stalled_ = true;
  const std::size_t size = frontend->can_receive();
  if (size != 0) input_stalled_ = false;
  return size;
}

void ChardevBase::deliver(std::span<const std::byte> bytes) {
  if (const auto frontend = frontend_; frontend && frontend->receive && !bytes.empty()) frontend->receive(bytes);
}

void ChardevBase::send_event(CharEvent event) {
  if (const auto frontend = frontend_; frontend && frontend->event) frontend->event(event);
}

std::vector<std::byte> ChardevBase::take_unsent() {
  std::vector<std::byte> rest(sending_.begin() + static_cast<std::ptrdiff_t>(sent_), sending_.end());
  const std::scoped_lock lock(mutex_);
  rest.insert(rest.end(), pending_.begin(), pending_.end());
  pending_.clear();
  sending_.clear();
  sent_ = queued_ = 0;
  return rest;
}

}  // namespace doppel::chardev
