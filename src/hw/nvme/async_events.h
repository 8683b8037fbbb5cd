// Events that a controller reports when the guest has asked to hear of some: NVM Express base specification 1.4,
// section 5.2.
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

namespace doppel::hw::nvme {

/// Dword 0 of an ASYNCHRONOUS EVENT REQUEST's completion.
struct AsyncEvent {
  enum class Type : std::uint8_t { kError = 0, kHealth = 1, kNotice = 2 };
  Type type = Type::kError;
  std::uint8_t information = 0;
  std::uint8_t log_page = 0;
  [[nodiscard]] std::uint32_t result() const {
    return static_cast<std::uint32_t>(type) | std::uint32_t{information} << 8U | std::uint32_t{log_page} << 16U;
  }
  void describe(auto& fields) {
    fields("type", type);
    fields("information", information);
    fields("log_page", log_page);
  }
};

struct AsyncEventState {
  std::vector<std::uint16_t> requests{};  // command ids
  std::vector<AsyncEvent> events{};
  std::uint8_t masked = 0;
  void describe(auto& fields) {
    fields("requests", requests);
    fields("events", events);
    fields("masked", masked);
  }
};

/// Brings events and requests for them together. After an event, its type is masked until the guest has read the log
/// page that the event names.
class AsyncEvents {
 public:
  static constexpr std::size_t kMostEvents = 16;
  struct Report {
    std::uint16_t command_id;
    std::uint32_t result;
  };

  explicit AsyncEvents(std::size_t most_requests) : most_requests_(most_requests) {}

  [[nodiscard]] bool can_take_request() const { return state_.requests.size() < most_requests_; }
  void add_request(std::uint16_t command_id) { state_.requests.push_back(command_id); }
  /// One that does not fit any more is lost, as is an equal one.
  void add_event(const AsyncEvent& event) {
    const auto same = [&](const AsyncEvent& other) { return other.result() == event.result(); };
    if (state_.events.size() < kMostEvents && std::ranges::none_of(state_.events, same)) state_.events.push_back(event);
  }
  void log_page_read(std::uint8_t page) {
    constexpr std::uint8_t kErrorPage = 1;
    constexpr std::uint8_t kHealthPage = 2;
    if (page == kErrorPage) unmask(AsyncEvent::Type::kError);
    if (page == kHealthPage) unmask(AsyncEvent::Type::kHealth);
  }
  /// The next event that can be reported, if one can.
  std::optional<Report> next() {
    const auto reportable = [this](const AsyncEvent& event) { return (state_.masked & mask(event.type)) == 0; };
    const auto event = std::ranges::find_if(state_.events, reportable);
    if (state_.requests.empty() || event == state_.events.end()) return std::nullopt;
    const Report report{.command_id = state_.requests.front(), .result = event->result()};
    state_.masked |= mask(event->type);
    state_.requests.erase(state_.requests.begin());
    state_.events.erase(event);
    return report;
  }
  void reset() { state_ = {}; }

  [[nodiscard]] const AsyncEventState& save() const { return state_; }
  /// False if it is damaged.
  [[nodiscard]] bool load(const AsyncEventState& saved) {
    const auto known = [](const AsyncEvent& event) { return event.type <= AsyncEvent::Type::kNotice; };
    if (saved.requests.size() > most_requests_ || saved.events.size() > kMostEvents ||
        !std::ranges::all_of(saved.events, known))
      return false;
    state_ = saved;
    return true;
  }

 private:
  static std::uint8_t mask(AsyncEvent::Type type) {
    return static_cast<std::uint8_t>(1U << static_cast<unsigned>(type));
  }
  void unmask(AsyncEvent::Type type) { state_.masked = static_cast<std::uint8_t>(state_.masked & ~mask(type)); }

  const std::size_t most_requests_;
  AsyncEventState state_;
};

}  // namespace doppel::hw::nvme
