// Versioned saving and loading of device state. No transport here: a section is bytes, carried by whoever asks.
//
// A device keeps its saved state as a plain struct of its own and describes it once:
//
//   struct I8259State {
//     static constexpr std::string_view kName = "i8259";
//     static constexpr std::uint32_t kVersion = 2;
//     std::uint8_t irr = 0, imr = 0;
//     bool special_mask = false;
//     void describe(auto& fields) {
//       fields("irr", irr);
//       fields("imr", imr);
//       fields.since(2, "special_mask", special_mask);
//     }
//   };
//
// and then:  state::save(writer, live_to_state());   DOPPEL_ASSIGN(auto s, state::load<I8259State>(reader));
//
// Fields may be integers, enums, bools, std::string, std::vector and std::array of those, and structs with describe().
// A section of an older version loads, its newer fields keeping their defaults; a newer one, an unknown or missing
// field and left-over data are errors that name section and field.
#pragma once

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/error.h"

namespace doppel::state {

template <class T>
concept Described = requires {
  { T::kName } -> std::convertible_to<std::string_view>;
  { T::kVersion } -> std::convertible_to<std::uint32_t>;
};

/// Collects sections: each is a name, a version, a length and its fields, all little-endian.
class Writer {
 public:
  void begin_section(std::string_view name, std::uint32_t version);
  void end_section();

  void put_name(std::string_view name);  // a field's name, length-prefixed
  void put_integer(std::uint64_t value, std::size_t size);
  void put_count(std::uint64_t elements);
  void put_bytes(std::span<const std::byte> bytes);  // length-prefixed

  [[nodiscard]] const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<std::byte> bytes_;
  std::vector<std::size_t> section_starts_;
};

/// Reads what a Writer wrote, one section after another, and believes none of it. The first failure sticks: everything
/// read from then on is zero or empty, and begin_section() and end_section() report it.
class Reader {
 public:
  explicit Reader(std::span<const std::byte> bytes) : rest_(bytes) {}

  /// Enters the next section, which must be NAME, and returns its version.
  Result<std::uint32_t> begin_section(std::string_view name, std::uint32_t newest_version);
  /// Leaves the section; an error if a field failed or bytes are left.
  Result<> end_section();
  /// At the end of the section entered, or outside of any, of the input.
  [[nodiscard]] bool at_end() const { return rest_.empty(); }
  [[nodiscard]] bool failed() const { return !error_.empty(); }

  void expect_name(std::string_view name);
  std::uint64_t get_integer(std::size_t size);
  /// One byte, 0 or 1; another is a failure.
  bool get_bool();
  /// How many elements follow, each of at least one byte: more than there are bytes is a failure.
  std::uint64_t get_count();
  /// The bytes stay those of the span given to the constructor.
  std::span<const std::byte> get_bytes();

 private:
  struct Section {
    std::string name;
    std::span<const std::byte> after;  // what follows this section
  };
  std::span<const std::byte> take(std::uint64_t size);
  std::string get_name();
  void set_error(std::string_view what);
  [[nodiscard]] std::unexpected<Error> failure() const;

  std::span<const std::byte> rest_;
  std::vector<Section> sections_;
  std::string field_;  // the one being read, for the error
  std::string error_;  // one sentence; empty while all is well
};

namespace detail {

template <class T>
inline constexpr bool kIsVector = false;
template <class T>
inline constexpr bool kIsVector<std::vector<T>> = true;
template <class T>
inline constexpr bool kIsArray = false;
template <class T, std::size_t N>
inline constexpr bool kIsArray<std::array<T, N>> = true;

/// What describe() calls when saving.
class SaveFields {
 public:
  explicit SaveFields(Writer& writer) : writer_(writer) {}
  template <class T>
  void operator()(std::string_view name, T& field) {
    writer_.put_name(name);
    put(field);
  }
  template <class T>
  void since(std::uint32_t /*version*/, std::string_view name, T& field) {
    (*this)(name, field);
  }

 private:
  template <class T>
  void put(T& field) {
    if constexpr (std::is_same_v<T, bool>) {
      writer_.put_integer(field ? 1 : 0, 1);
    } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      writer_.put_integer(static_cast<std::uint64_t>(field), sizeof(T));
    } else if constexpr (std::is_same_v<T, std::string>) {
      writer_.put_bytes(std::as_bytes(std::span(field)));
    } else if constexpr (kIsVector<T>) {
      writer_.put_count(field.size());
      for (auto& element : field) put(element);
    } else if constexpr (kIsArray<T>) {
      for (auto& element : field) put(element);
    } else {
      field.describe(*this);
    }
  }
  Writer& writer_;
};

/// What describe() calls when loading.
class LoadFields {
 public:
  LoadFields(Reader& reader, std::uint32_t version) : reader_(reader), version_(version) {}
  template <class T>
  void operator()(std::string_view name, T& field) {
    reader_.expect_name(name);
    get(field);
  }
  template <class T>
  void since(std::uint32_t version, std::string_view name, T& field) {
    if (version_ >= version) (*this)(name, field);
  }

 private:
  template <class T>
  void get(T& field) {
    if constexpr (std::is_same_v<T, bool>) {
      field = reader_.get_bool();
    } else if constexpr (std::is_integral_v<T> || std::is_enum_v<T>) {
      field = static_cast<T>(reader_.get_integer(sizeof(T)));
    } else if constexpr (std::is_same_v<T, std::string>) {
      const auto bytes = reader_.get_bytes();
      field.assign(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    } else if constexpr (kIsVector<T>) {
      const std::uint64_t size = reader_.get_count();
      field.clear();
      // Grown one by one: a corrupt count runs out of input long before it runs out of memory.
      for (std::uint64_t i = 0; i < size && !reader_.failed(); ++i) get(field.emplace_back());
    } else if constexpr (kIsArray<T>) {
      for (auto& element : field) get(element);
    } else {
      field.describe(*this);
    }
  }
  Reader& reader_;
  std::uint32_t version_;
};

}  // namespace detail

template <Described T>
void save(Writer& writer, T state) {
  writer.begin_section(T::kName, T::kVersion);
  detail::SaveFields fields(writer);
  state.describe(fields);
  writer.end_section();
}

template <Described T>
Result<T> load(Reader& reader) {
  DOPPEL_ASSIGN(const std::uint32_t version, reader.begin_section(T::kName, T::kVersion));
  T state{};
  detail::LoadFields fields(reader, version);
  state.describe(fields);
  DOPPEL_TRY(reader.end_section());
  return state;
}

}  // namespace doppel::state
