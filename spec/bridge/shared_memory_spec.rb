# frozen_string_literal: true

# Against a worker that was written from docs/reference/protocol.md, and against the real server.
RSpec.describe "Transfer::Bridge::SharedMemory" do
  big = 300_000

  def ask(worker, name, **params) = worker.call(name, params.transform_keys(&:to_s)).value(20)
  def tensor(byte, size = 300_000) = Transfer::Tensor.from(byte.chr.b * size, dtype: "uint8")

  %i[native ruby].each do |half|
    describe "in #{half}", if: half == :ruby || Transfer.native? do
      before { allow(Transfer).to receive(:native?).and_return(half == :native) }

      let(:other) { worker("memory") }

      it "passes large tensors to the worker" do
        expect(ask(other, "look", tensor: tensor(7)).values_at(0, 1, 2, 4)).to eq([2, "uint8", [big], "\7".b * 8])
        content = Random.new(1).bytes(3_000_000)
        expect(ask(other, "look", tensor: Transfer::Tensor.from(content, dtype: "uint8")).last)
          .to eq(content.sum(0) % 251)
      end

      it "reuses a block after the worker has freed it, and not before" do
        places = Array.new(3) { ask(other, "look", tensor: tensor(1), keep: true)[3] }
        expect(places.uniq.size).to eq(3)
        size = ask(other, "size")
        ask(other, "free", offset: places[0])
        ask(other, "free", offset: places[1])
        expect(ask(other, "look", tensor: tensor(2, 600_000))[3]).to eq(places[0])
        expect(ask(other, "size")).to eq(size)
      end

      it "receives a tensor in the worker's memory" do
        taken = ask(other, "show", bytes: "\1\2\3\4".b, shape: [2, 2], offset: 65_536)
        expect([taken.to_a, taken.bytes, taken.to_io_buffer.get_value(:U8, 3)]).to eq([[[1, 2], [3, 4]], "\1\2\3\4", 4])
      end

      it "frees the block of a tensor that is garbage" do
        ask(other, "show", bytes: "abcd".b, offset: 0).release
        expect(ask(other, "used", offset: 0)).to eq(0)
        20.times { |i| ask(other, "show", bytes: "abcd".b, offset: i * 65_536) }
        freed = eventually do
          GC.start
          Array.new(20) { |i| ask(other, "used", offset: i * 65_536) }.sum < 80
        end
        expect(freed).to be(true)
      end

      it "keeps a tensor after the end of its worker" do
        kept = ask(other, "show", bytes: "abcd".b, offset: 0)
        other.stop
        expect(kept.bytes).to eq("abcd")
        expect(kept.release).to be_nil
      end

      it "refuses an invalid block" do
        {
          { bytes: "abcd".b, offset: 0, says: 5 } => "the block at 0 holds 5 bytes, expected 4",
          { bytes: "abcd".b, offset: 0, says: 2**63 } => "the block at 0 holds 9223372036854775808 bytes, expected 4",
          { bytes: "abcd".b, offset: 0, shape: [2**33] } => "a block of 8589934592 bytes at 0 ends beyond its file",
          { bytes: "abcd".b, offset: 64, shape: [2**40] } => "can't create a tensor: uint8 of 1099511627776 takes " \
                                                             "1099511627776 bytes, at most 68719476736 are allowed"
        }.each do |params, words|
          expect { ask(worker("memory"), "show", **params) }.to raise_error(Transfer::ProtocolError, words)
        end
      end

      it "frees the blocks of a request that can't be sent" do
        offsets = Array.new(2) do
          expect { ask(other, "look", tensor: tensor(1), more: Object.new) }.to raise_error(Transfer::ProtocolError)
          ask(other, "look", tensor: tensor(2))[3]
        end
        expect(offsets).to eq([0, 0])
      end

      it "works with the real worker" do
        path = [File.expand_path("../../python", __dir__), File.expand_path("../../tests", __dir__)].join(":")
        real = bridge::LaunchOptions.new(
          command: [Workers::PYTHON, File.expand_path("../../tests/worker/fake_worker.py", __dir__)],
          env: ENV.to_h.merge("PYTHONPATH" => path), startup_timeout: 60
        )
        place = bridge::Pool::Worker.new { real }.tap { |worker| (@workers ||= []) << worker }
        numbers = Transfer::Tensor.from(Array.new(200) { |i| [i.fdiv(3)] * 1000 }, dtype: "float64")
        5.times do
          doubled = ask(place, "double", numbers:)
          expect([doubled.dtype, doubled.shape, doubled.to_a[199][0]]).to eq(["float64", [200, 1000], 199.fdiv(3) * 2])
          doubled.release
        end
        small = Transfer::Tensor.from([[1, 2]], dtype: "int64")
        expect(ask(place, "double", numbers: small).to_a).to eq([[2, 4]])
        expect(ask(place, "count_up", count: 1_000_000, dtype: "float32").to_a.sum).to eq(499_999_500_000.0)
      end
    end
  end

  it "is a file without a name that can't be truncated", if: Transfer.native? do
    file = bridge::SharedMemory::Arena.file
    file.truncate(65_536)
    expect { file.truncate(0) }.to raise_error(Errno::EPERM)
    expect(file.stat.nlink).to eq(0)
    file.close
  end

  it "is a file without a name without the native part, too" do
    allow(Transfer).to receive(:native?).and_return(false)
    file = bridge::SharedMemory::Arena.file
    expect([file.stat.nlink, file.stat.mode & 0o777]).to eq([0, 0o600])
    file.close
  end

  describe "mapped", if: Transfer.native? do
    native = Transfer.const_get(:Native) if Transfer.native?

    def block(content)
      file = Transfer.const_get(:Bridge)::SharedMemory::Arena.file
      file.truncate(65_536)
      file.pwrite([content.bytesize].pack("Q<"), 0)
      file.pwrite(content, 64)
      file
    end

    def used(file) = file.pread(8, 0).unpack1("Q<")

    it "is not mapped if it could be truncated" do
      Tempfile.create do |file|
        file.truncate(65_536)
        expect(native.map(file, 0, 4)).to be_nil
      end
    end

    it "refuses a block beyond the end" do
      file = block("abcd")
      [[65_536, 1], [0, 65_473], [0, (2**63) - 1], [-65_536, 4], [2**62, 4]].each do |offset, bytes|
        expect { native.map(file, offset, bytes) }.to raise_error(ArgumentError, "a block beyond the end of its file")
      end
      expect { native.map(file, 1, 4) }.to raise_error(Errno::EINVAL)
      file.close
      expect { native.map(file, 0, 4) }.to raise_error(IOError)
    end

    it "is released once" do
      file = block("abcd")
      mapping = native.map(file, 0, 4)
      mapping.release
      expect(used(file)).to eq(0)
      file.pwrite([9].pack("Q<"), 0)
      mapping.release
      expect(used(file)).to eq(9)
      expect { mapping.to_s }.to raise_error(ArgumentError, "this memory was given back")
      expect { mapping.to_io_buffer }.to raise_error(ArgumentError, "this memory was given back")
      file.close
    end

    it "stays mapped while an IO::Buffer refers to it" do
      file = block("abcd")
      mapping = native.map(file, 0, 4)
      buffer = mapping.to_io_buffer
      mapping.release
      expect([used(file), buffer.get_string]).to eq([4, "abcd"])
      file.close
    end

    it "can't be instantiated or copied" do
      file = block("abcd")
      mapping = native.map(file, 0, 4)
      file.close
      expect { mapping.class.new }.to raise_error(TypeError, /allocator undefined/)
      expect { mapping.dup }.to raise_error(TypeError)
    end

    it "is never freed after a fork, since the child can read it" do
      file = block("abcd")
      mapping = native.map(file, 0, 4)
      child = fork do
        mapping.release # in the child: of no effect on the parent
        exit!(0)
      end
      Process.wait(child)
      mapping.release
      expect(used(file)).to eq(4)
      later = native.map(file, 0, 4)
      later.release
      expect(used(file)).to eq(0)
      file.close
    end
  end
end
