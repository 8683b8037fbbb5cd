// The block device: Virtual I/O Device 1.2, section 5.2.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "block/aligned_buffer.h"
#include "block/disk.h"
#include "hw/virtio/virtio_device.h"
#include "hw/virtio/virtio_pci.h"

namespace doppel::hw {

struct VirtioBlkConfig : VirtioPciConfig {
  std::uint16_t num_queues = kAutoQueues;
  std::uint16_t queue_size = 256;
  std::string serial;
  std::uint32_t logical_block_size = 512;
  std::uint32_t physical_block_size = 512;
  std::uint32_t min_io_size = 0;
  std::uint32_t opt_io_size = 0;
  OnOffAuto write_cache = OnOffAuto::kAuto;
  bool config_wce = true;
  bool discard = true;
  bool write_zeroes = true;
  std::uint32_t max_discard_sectors = kMostSectors;
  std::uint32_t max_write_zeroes_sectors = kMostSectors;

  static constexpr std::uint16_t kAutoQueues = 0xffff;
  static constexpr std::uint32_t kMostSectors = 0x3fffff;  // just below 2 GiB
};

extern const PropertyTable<VirtioBlkConfig> kVirtioBlkProperties;

/// Does CONFIG make sense, whatever the disk?
Result<> check_config(const VirtioBlkConfig& config);

/// The function virtio-blk-pci over DISK, which outlives it. CPUS is how many queues it has if nobody says.
Result<std::unique_ptr<VirtioPci>> create_virtio_blk(const PciServices& services, const VirtioPciParts& parts,
                                                     block::Disk& disk, VirtioBlkConfig config, std::size_t cpus);

class VirtioBlk final : public VirtioDevice {
 public:
  /// Data of requests under way that is kept in buffers, at most; one request more may begin below that. What the disk
  /// reads and fills in guest memory is not kept.
  static constexpr std::size_t kMostData = 32 << 20;
  /// A longer request goes through in pieces.
  static constexpr std::size_t kLargestPiece = 2 << 20;

  VirtioBlk(VirtioHost& host, const VirtioOptions& options, block::Disk& disk, VirtioBlkConfig config);

  [[nodiscard]] std::size_t config_size() const override;
  void write_config(std::uint64_t offset, unsigned size, std::uint64_t value) override;

 protected:
  [[nodiscard]] std::uint64_t own_features() const override;
  [[nodiscard]] std::vector<std::byte> config() const override;
  Result<> take(unsigned queue, Chain chain) override;
  [[nodiscard]] bool has_room(unsigned queue) const override;
  void reset_own() override;
  void driver_ready() override;
  [[nodiscard]] std::vector<std::uint8_t> save_own() const override;
  Result<> load_own(const std::vector<std::uint8_t>& saved) override;

 private:
  struct Request;
  using RequestPtr = std::shared_ptr<Request>;

  Result<> start(const RequestPtr& request);
  Result<> next_piece(const RequestPtr& request);
  bool lend_piece(const RequestPtr& request);
  Result<> buffer_piece(const RequestPtr& request);
  void begin_piece(const RequestPtr& request, block::Buffers buffers);
  void piece_done(const RequestPtr& request, const Result<>& result);
  Result<> piece_moved(const RequestPtr& request);
  Result<> give_serial(const RequestPtr& request);
  Result<> change_ranges(const RequestPtr& request);
  Result<> flush(const RequestPtr& request);
  void last_step_done(const RequestPtr& request, const Result<>& result);
  Result<> finish(const RequestPtr& request, std::uint8_t status);
  void give_up(const RequestPtr& request);
  void release(const RequestPtr& request);
  void note_failure(const Error& error);
  [[nodiscard]] bool is_in_disk(std::uint64_t sector, std::uint64_t length) const;
  [[nodiscard]] bool writes_are_durable() const;

  block::Disk& disk_;
  const VirtioBlkConfig settings_;
  const bool cache_at_reset_;
  bool cache_;            // WCE as the driver set it
  bool flushes_ = true;   // the driver knows that there is a cache
  std::size_t data_ = 0;  // bytes in buffers of requests under way
  bool error_told_ = false;
};

}  // namespace doppel::hw
