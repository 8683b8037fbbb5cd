#include "hw/firmware/fw_cfg.h"

#include <algorithm>
#include <cstring>

#include "base/bits.h"

namespace doppel::hw {

namespace {

struct FwCfgState {
  static constexpr std::string_view kName = "fw_cfg";
  static constexpr std::uint32_t kVersion = 1;

  struct Contents {
    std::uint16_t key = 0;
    std::string bytes;
    void describe(auto& fields) {
      fields("key", key);
      fields("bytes", bytes);
    }
  };

  std::uint16_t key = 0;
  std::uint64_t offset = 0;
  std::uint64_t dma_address = 0;
  std::vector<Contents> writable;

  void describe(auto& fields) {
    fields("key", key);
    fields("offset", offset);
    fields("dma_address", dma_address);
    fields("writable", writable);
  }
};

constexpr std::uint16_t file_key(std::size_t row) {
  return static_cast<std::uint16_t>(static_cast<std::size_t>(FwCfgKey::kFirstFile) + row);
}

/// The rows of the legacy HPET item: which event timer blocks there are (SeaBIOS, src/fw/paravirt.c).
Bytes hpet_item(bool present) {
  ByteWriter writer;
  writer.u8(present ? 1 : 0);
  if (!present) return writer.take();
  return writer.u32(0x8086a201).u64(0xfed00000).u16(100).u8(0).zeros(7 * 15).take();
}

/// Number of nodes, node of each CPU, memory of each node.
Bytes numa_item(const FwCfgBasics& basics) {
  ByteWriter writer;
  writer.u64(basics.node_memory.size());
  for (std::uint64_t id = 0; id <= basics.max_apic_id; ++id)
    writer.u64(id < basics.cpu_nodes.size() ? basics.cpu_nodes[id] : 0);
  for (const std::uint64_t memory : basics.node_memory) writer.u64(memory);
  return writer.take();
}

/// S3, S4 and S5 at their indices: bit 7 says the state is offered, the rest is its SLP_TYP.
Bytes system_states(const FwCfgBasics& basics) {
  ByteWriter writer;
  writer.u8(128).u8(0).u8(0);
  writer.u8(basics.s3 ? 129 : 1).u8(basics.s4 ? basics.s4_value | 128U : basics.s4_value).u8(128);
  return writer.take();
}

}  // namespace

struct FwCfg::Descriptor {
  std::uint32_t control = 0;
  std::uint32_t length = 0;
  memory::GuestPhysAddr address;
};

FwCfg::FwCfg(std::optional<memory::DmaSpace> dma, Logger log) : dma_(dma), log_(std::move(log)) {
  add(FwCfgKey::kSignature, text_bytes(kFwCfgSignature));
  add_number(FwCfgKey::kId, kFwCfgIdTraditional | (dma_ ? kFwCfgIdDma : 0U));
  reset();
}

void FwCfg::add_item(std::uint16_t key, Blob data, FwCfgHooks hooks) {
  auto item = std::make_shared<Item>(Item{std::move(data), std::nullopt, std::move(hooks)});
  if (item->hooks.on_write) item->writable.emplace(item->data.bytes().begin(), item->data.bytes().end());
  const DeviceGuard guard(*this);
  items_[key] = std::move(item);
}

Result<> FwCfg::add_file(std::string_view name, Blob data, FwCfgHooks hooks) {
  if (name.empty() || name.size() >= kFwCfgNameSize)
    return fail(ErrorKind::kInvalidArgument, "fw_cfg file name '{}' must have 1 to {} characters", name,
                kFwCfgNameSize - 1);
  if (data.size() > 0xffffffffU) return fail(ErrorKind::kOutOfRange, "fw_cfg file '{}' is 4 GiB or more", name);
  const DeviceGuard guard(*this);
  const auto row =
      std::ranges::lower_bound(files_, name, {}, [](const File& file) -> std::string_view { return file.name; });
  if (row != files_.end() && row->name == name)
    return fail(ErrorKind::kAlreadyExists, "there is already a fw_cfg file '{}'", name);
  if (files_.size() == kFwCfgMaxFiles) return fail(ErrorKind::kNoSpace, "too many fw_cfg files");
  auto item = std::make_shared<Item>(Item{std::move(data), std::nullopt, std::move(hooks)});
  if (item->hooks.on_write) item->writable.emplace(item->data.bytes().begin(), item->data.bytes().end());
  files_.insert(row, File{std::string(name), std::move(item)});
  return {};
}

Result<> FwCfg::set_file(std::string_view name, Blob data) {
  {
    const DeviceGuard guard(*this);
    if (const File* file = find_file(name)) {
      file->item->data = std::move(data);
      return {};
    }
  }
  return add_file(name, std::move(data));
}

void FwCfg::add_basics(const FwCfgBasics& basics) {
  add(FwCfgKey::kUuid, Bytes(basics.uuid.begin(), basics.uuid.end()));
  add_number(FwCfgKey::kRamSize, basics.ram_size);
  add_number(FwCfgKey::kNoGraphic, static_cast<std::uint16_t>(basics.no_graphic));
  add_number(FwCfgKey::kCpuCount, basics.cpu_count);
  add_number(FwCfgKey::kMachineId, std::uint16_t{0});
  add_number(FwCfgKey::kBootMenu, static_cast<std::uint16_t>(basics.boot_menu));
  add_number(FwCfgKey::kMaxCpus, static_cast<std::uint16_t>(std::min(basics.max_apic_id + 1, 0xffffU)));
  add_number(FwCfgKey::kIrq0Override, std::uint8_t{1});
  add(FwCfgKey::kHpet, hpet_item(basics.hpet));
  add(FwCfgKey::kNuma, numa_item(basics));
  // The names are ours and short: set_file() cannot fail.
  (void)set_file("etc/system-states", system_states(basics));
  (void)set_file("etc/boot-fail-wait", le_bytes(basics.reboot_timeout.value_or(0xffffffffU)));
  if (basics.boot_menu_wait != 0) (void)set_file("etc/boot-menu-wait", le_bytes(basics.boot_menu_wait));
  if (basics.boot_menu) (void)set_file("etc/show-boot-menu", le_bytes(std::uint16_t{1}));
  if (basics.screen_and_debug)
    (void)set_file("etc/screen-and-debug", le_bytes(static_cast<std::uint32_t>(*basics.screen_and_debug)));
}

Bytes FwCfg::file(std::string_view name) {
  const DeviceGuard guard(*this);
  const File* file = find_file(name);
  if (file == nullptr) return {};
  const auto bytes = file->item->bytes();
  return {bytes.begin(), bytes.end()};
}

Bytes FwCfg::item(FwCfgKey key) {
  const DeviceGuard guard(*this);
  const auto item = find_item(static_cast<std::uint16_t>(key));
  if (!item) return {};
  return {item->bytes().begin(), item->bytes().end()};
}

std::vector<std::string> FwCfg::file_names() const {
  std::vector<std::string> names;
  for (const File& file : files_) names.push_back(file.name);
  return names;
}

const FwCfg::File* FwCfg::find_file(std::string_view name) const {
  const auto row = std::ranges::find(files_, name, &File::name);
  return row == files_.end() ? nullptr : &*row;
}

std::shared_ptr<FwCfg::Item> FwCfg::find_item(std::uint16_t key) {
  if (key == static_cast<std::uint16_t>(FwCfgKey::kFileDirectory))
    return std::make_shared<Item>(Item{directory(), std::nullopt, {}});
  if (key >= file_key(0) && key < file_key(files_.size())) return files_[key - file_key(0)].item;
  const auto found = items_.find(key);
  return found == items_.end() ? nullptr : found->second;
}

Blob FwCfg::directory() const {
  Bytes rows(4 + files_.size() * kFwCfgDirectoryRow);
  store_be(rows.data(), static_cast<std::uint32_t>(files_.size()));
  for (std::size_t i = 0; i < files_.size(); ++i) {
    std::byte* row = rows.data() + 4 + i * kFwCfgDirectoryRow;
    store_be(row, static_cast<std::uint32_t>(files_[i].item->bytes().size()));
    store_be(row + 4, file_key(i));
    std::memcpy(row + 8, files_[i].name.data(), files_[i].name.size());
  }
  return rows;
}

void FwCfg::reset() {
  const DeviceGuard guard(*this);
  key_ = static_cast<std::uint16_t>(FwCfgKey::kSignature);
  current_ = find_item(key_);
  offset_ = 0;
  dma_address_ = 0;
}

void FwCfg::save(state::Writer& writer) {
  const DeviceGuard guard(*this);
  FwCfgState saved{.key = key_, .offset = offset_, .dma_address = dma_address_, .writable = {}};
  for (std::size_t i = 0; i < files_.size(); ++i)
    if (const auto& contents = files_[i].item->writable)
      saved.writable.push_back({file_key(i), {reinterpret_cast<const char*>(contents->data()), contents->size()}});
  state::save(writer, saved);
}

Result<> FwCfg::load(state::Reader& reader) {
  DOPPEL_ASSIGN(const FwCfgState saved, state::load<FwCfgState>(reader));
  const DeviceGuard guard(*this);
  for (const auto& [key, bytes] : saved.writable) {
    const auto item = find_item(key);
    if (!item || !item->writable || item->writable->size() != bytes.size())
      return fail(ErrorKind::kCorrupt, "fw_cfg: item {:#x} of the saved state does not fit this machine", key);
    std::ranges::copy(std::as_bytes(std::span(bytes)), item->writable->begin());
  }
  const auto current = find_item(saved.key);
  if (saved.offset > (current ? current->bytes().size() : 0))
    return fail(ErrorKind::kCorrupt, "fw_cfg: the saved state reads item {:#x} beyond its end", saved.key);
  key_ = saved.key;
  current_ = current;
  offset_ = saved.offset;
  dma_address_ = saved.dma_address;
  return {};
}

std::uint64_t FwCfg::read(std::uint64_t offset, unsigned size) {
  std::uint64_t value = 0;
  for (unsigned i = 0; i < size; ++i) {
    const std::uint64_t at = offset + i;
    std::uint64_t byte = 0xff;
    if (at == kFwCfgData) byte = read_data(1);
    if (dma_ && at >= kFwCfgDmaAddress && at < kFwCfgPortCount)
      byte = static_cast<unsigned char>(kFwCfgDmaSignature[at - kFwCfgDmaAddress]);
    value |= byte << (8 * i);
  }
  return value;
}

void FwCfg::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (offset == kFwCfgSelector && size >= 2) return select(static_cast<std::uint16_t>(value));
  if (dma_ && offset >= kFwCfgDmaAddress && offset + size <= kFwCfgPortCount)
    return write_dma_address(static_cast<unsigned>(offset - kFwCfgDmaAddress), size, value);
  log_.guest_error("write of {:#x} ({} bytes) to port {:#x} has no effect", value, size, kFwCfgBasePort + offset);
}

std::uint64_t FwCfg::Mmio::read(std::uint64_t offset, unsigned size) {
  if (offset < kFwCfgMmioSelector) return device_.read_data(size);
  if (offset < kFwCfgMmioDma) return low_mask(8 * size);
  return device_.read(offset - kFwCfgMmioDma + kFwCfgDmaAddress, size);
}

void FwCfg::Mmio::write(std::uint64_t offset, unsigned size, std::uint64_t value) {
  if (offset == kFwCfgMmioSelector && size == 2) return device_.select(byte_swap(static_cast<std::uint16_t>(value)));
  if (offset >= kFwCfgMmioDma) return device_.write(offset - kFwCfgMmioDma + kFwCfgDmaAddress, size, value);
  device_.log_.guest_error("write of {:#x} ({} bytes) at offset {:#x} has no effect", value, size, offset);
}

void FwCfg::select(std::uint16_t key) {
  key = static_cast<std::uint16_t>(key & ~kFwCfgWriteChannel);
  std::shared_ptr<Item> item;
  {
    const DeviceGuard guard(*this);
    key_ = key;
    offset_ = 0;
    current_ = item = find_item(key);
  }
  if (!item || !item->hooks.on_select) return;
  Bytes contents = item->hooks.on_select();
  const DeviceGuard guard(*this);
  contents.resize(item->bytes().size());
  if (item->writable)
    item->writable = std::move(contents);
  else
    item->data = std::move(contents);
}

std::uint64_t FwCfg::read_data(unsigned size) {
  const DeviceGuard guard(*this);
  std::uint64_t value = 0;
  for (unsigned i = 0; current_ && i < size && offset_ < current_->bytes().size(); ++i)
    value |= std::to_integer<std::uint64_t>(current_->bytes()[offset_++]) << (8 * i);
  return value;
}

void FwCfg::write_dma_address(unsigned byte_offset, unsigned size, std::uint64_t big_endian_value) {
  std::array<std::byte, 8> image{};
  memory::GuestPhysAddr descriptor;
  {
    const DeviceGuard guard(*this);
    store_be(image.data(), dma_address_);
    store_le_sized(image.data() + byte_offset, size, big_endian_value);
    dma_address_ = load_be<std::uint64_t>(image.data());
    if (byte_offset + size < image.size()) return;
    descriptor = {std::exchange(dma_address_, 0)};
  }
  run_dma(descriptor);
}

void FwCfg::run_dma(memory::GuestPhysAddr descriptor) {
  std::array<std::byte, kFwCfgDescriptorSize> image{};
  if (!dma_->read(descriptor, image)) {
    log_.guest_error("no DMA descriptor at {}", descriptor);
    std::array<std::byte, 4> error{};
    store_be(error.data(), kFwCfgDmaError);
    (void)dma_->write(descriptor, error);
    return;
  }
  Descriptor request{load_be<std::uint32_t>(image.data()),
                     load_be<std::uint32_t>(image.data() + 4),
                     {load_be<std::uint64_t>(image.data() + 8)}};
  if ((request.control & kFwCfgDmaSelect) != 0) select(static_cast<std::uint16_t>(request.control >> 16));

  std::uint32_t result = 0;
  std::uint64_t written_at = 0;
  std::shared_ptr<Item> written;
  {
    const DeviceGuard guard(*this);
    written_at = offset_;
    result = transfer(request);
    const bool wrote = (request.control & (kFwCfgDmaRead | kFwCfgDmaWrite)) == kFwCfgDmaWrite;
    if (wrote && result == 0 && request.length != 0) written = current_;
  }
  if (written) written->hooks.on_write(static_cast<std::uint32_t>(written_at), request.length, *written->writable);
  std::array<std::byte, 4> status{};
  store_be(status.data(), result);
  (void)dma_->write(descriptor, status);
}

std::uint32_t FwCfg::transfer(Descriptor& request) {
  bool done = true;
  if ((request.control & kFwCfgDmaRead) != 0)
    done = read_to_guest(request.address, request.length);
  else if ((request.control & kFwCfgDmaWrite) != 0)
    done = write_from_guest(request.address, request.length);
  else if ((request.control & kFwCfgDmaSkip) != 0 && current_)
    offset_ = std::min<std::uint64_t>(offset_ + request.length, current_->bytes().size());
  if (!done) log_.guest_error("DMA of {} bytes at {} failed (key {:#x})", request.length, request.address, key_);
  return done ? 0 : kFwCfgDmaError;
}

bool FwCfg::read_to_guest(memory::GuestPhysAddr address, std::uint32_t length) {
  const auto contents = current_ ? current_->bytes().subspan(offset_) : std::span<const std::byte>{};
  const auto available = contents.first(std::min<std::size_t>(length, contents.size()));
  offset_ += available.size();
  if (!available.empty() && !dma_->write(address, available)) return false;
  if (!available.empty() && available.size() == contents.size()) current_->data.rest();

  // What lies past the item's end reads as zero. A hole in guest memory ends this loop early.
  static constexpr std::array<std::byte, 64 * kKiB> kZeros{};
  address += available.size();
  for (std::uint64_t left = length - available.size(); left != 0;) {
    const std::uint64_t step = std::min<std::uint64_t>(left, kZeros.size());
    if (!dma_->write(address, std::span(kZeros).first(step))) return false;
    address += step;
    left -= step;
  }
  return true;
}

bool FwCfg::write_from_guest(memory::GuestPhysAddr address, std::uint32_t length) {
  if (length == 0) return true;
  if (!current_ || !current_->writable || length > current_->writable->size() - offset_) return false;
  if (!dma_->read(address, std::span(*current_->writable).subspan(offset_, length))) return false;
  offset_ += length;
  return true;
}

}  // namespace doppel::hw
