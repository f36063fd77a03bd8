# frozen_string_literal: true

require "fiddle"
begin
  require "numo/narray"
rescue LoadError
  nil
end

RSpec.describe Transfer::Tensor do
  %i[native ruby].each do |half|
    describe "in #{half}", if: half == :ruby || Transfer.native? do
      before { allow(Transfer).to receive(:native?).and_return(half == :native) }

      it "goes from nested Arrays and back" do
        array = [[[1.5, -2.0]], [[0.25, 1e3]]]
        tensor = described_class.from(array)
        expect(tensor).to have_attributes(dtype: "float32", shape: [2, 1, 2], to_a: array, bytesize: 16)
        expect(tensor.bytes).to eq([1.5, -2, 0.25, 1e3].pack("e*"))
        expect(described_class.from(7, dtype: :int64).to_a).to eq(7)
        expect(described_class.from([[]], dtype: "float64").to_a).to eq([[]])
        expect { described_class.from([[1], []]) }
          .to raise_error(ArgumentError, /\Acan't create a tensor: a row of 0 at \[1\], expected 1: /)
        expect { described_class.from([1], shape: [2]) }
          .to raise_error(ArgumentError, "an Array of shape [1], expected [2]")
        expect { described_class.from([Float::NAN], allow_nan: false) }
          .to raise_error(ArgumentError, "can't create a tensor: NaN at [0], expected a finite number")
      end

      it "is made of packed numbers without a copy" do
        packed = [1, 2, 3, 4].pack("e*") * 100_000
        tensor = described_class.from(packed, shape: [-1, 4])
        expect([tensor.shape, tensor.to_a.last]).to eq([[100_000, 4], [1, 2, 3, 4]])
        expect(described_class.from("\1\2", dtype: :uint8).to_a).to eq([1, 2])
        expect(tensor.bytes).to be_frozen
        changing = +"abcd"
        kept = described_class.from(changing, dtype: "uint8")
        changing << "e"
        expect(kept.bytes).to eq("abcd")
      end

      it "refuses packed numbers of another shape, or that are not finite" do
        {
          -> { described_class.from("abc") } => "float32 [0] takes 0 bytes, got 3",
          -> { described_class.from("abcd", shape: [2]) } => "float32 [2] takes 8 bytes, got 4",
          -> { described_class.from("abcd", shape: [-1, -1]) } =>
            "the shape of a tensor is a list of sizes, got [-1, -1]",
          -> { described_class.from("abcd", shape: [-1, 0]) } =>
            "the shape of a tensor is a list of sizes, got [-1, 0]",
          -> { described_class.from("abcd", shape: [-1, 2**70]) } =>
            "can't create a tensor: float32 of 1 x 1180591620717411303424 takes 4722366482869645213696 bytes",
          -> { described_class.from([1, 2, Float::NAN, 4].pack("e*"), shape: [2, 2], allow_nan: false) } =>
            "can't create a tensor: NaN at [1, 0], expected a finite number",
          -> { described_class.from("abcd", dtype: :float16) } =>
            'unknown dtype "float16" (one of: float32, float64, int64, uint8)'
        }.each { |call, words| expect(&call).to raise_error(ArgumentError, /\A#{Regexp.escape(words)}/) }
      end

      it "goes through an IO::Buffer" do
        tensor = described_class.from([[1, 2], [3, 4]], dtype: "int64")
        buffer = tensor.to_io_buffer
        expect([buffer.get_value(:s64, 24), buffer.readonly?]).to eq([4, true])
        expect(described_class.from(buffer, dtype: "int64", shape: [2, 2])).to eq(tensor)
      end

      it "copies what shows a MemoryView" do
        expect(described_class.from(Fiddle::Pointer["abcd"]).to_a).to eq("abcd".bytes)
        pointer = Fiddle::Pointer[[1.5, 2].pack("e*")]
        expect(described_class.from(pointer, dtype: "float32").to_a).to eq([1.5, 2])
        expect { described_class.from(Object.new) }
          .to raise_error(ArgumentError, "can't create a tensor: an Object, expected a number")
      end

      it "is another tensor of the same kind" do
        tensor = described_class.from([1])
        expect(described_class.from(tensor)).to be(tensor)
        expect { described_class.from(tensor, dtype: "uint8") }
          .to raise_error(ArgumentError, "a Transfer::Tensor of float32, expected uint8")
      end

      it "goes from Numo and back" do
        pending "numo-narray is not installed: gem install numo-narray" unless defined?(Numo::NArray)
        { Numo::SFloat => "float32", Numo::DFloat => "float64", Numo::Int64 => "int64", Numo::UInt8 => "uint8" }
          .each do |kind, dtype|
            numo = kind.new(2, 3).seq
            tensor = described_class.from(numo)
            expect([tensor.dtype, tensor.shape, tensor.to_a]).to eq([dtype, [2, 3], numo.to_a])
            expect([tensor.to_numo.class, tensor.to_numo]).to eq([kind, numo])
            expect(described_class.from(numo.transpose).to_a).to eq(numo.transpose.to_a)
            expect(described_class.from(numo[true, 1..2]).to_a).to eq(numo[true, 1..2].to_a)
          end
        expect(described_class.from(Numo::Int32[1, 2], dtype: :float32).to_a).to eq([1.0, 2.0])
        expect(described_class.from(2.5).to_numo.to_a).to eq([2.5]).or eq(2.5)
        expect { described_class.from(Numo::Int32[1]) }.to raise_error(
          ArgumentError, "a Numo::Int32 has no matching dtype. Fix: give dtype: one of float32, float64, int64, uint8"
        )
        expect { described_class.from(Numo::DFloat[1, Float::INFINITY], allow_nan: false) }
          .to raise_error(ArgumentError, "can't create a tensor: Infinity at [1], expected a finite number")
      end
    end
  end

  it "says how Numo is had" do
    hide_const("Numo") if defined?(Numo)
    expect { described_class.from([1]).to_numo }.to raise_error(
      Transfer::DependencyError, 'to_numo needs numo-narray. Fix: gem install numo-narray, then require "numo/narray"'
    )
  end

  describe "as a MemoryView", if: Transfer.native? do
    it "shows its numbers to other libraries" do
      [[1, 2, 3] * 2000, [[1, 2, 3]], []].each do |array|
        %w[float32 float64 int64 uint8].each do |dtype|
          tensor = described_class.from(array, dtype:)
          view = Fiddle::MemoryView.new(tensor)
          expect([view.shape, view.byte_size, view.to_s.b, view.readonly?])
            .to eq([tensor.shape, tensor.bytesize, tensor.bytes, true])
          view.release
        end
      end
    end

    it "stays where it is while somebody looks" do
      tensor = described_class.from([1, 2], dtype: "uint8")
      view = Fiddle::MemoryView.new(tensor)
      tensor = nil
      GC.start
      GC.compact if GC.respond_to?(:compact)
      expect([view[0], view[1], tensor]).to eq([1, 2, nil])
      view.release
    end

    it "is read alike by both halves" do
      native = Transfer.const_get(:Native)
      tensors = [[1, 2, 3], [[1.5], [2]], []].map { |array| described_class.from(array) }
      views = tensors.map { |tensor| native.view(tensor) }
      expect(views).to eq(tensors.map { |tensor| described_class.const_get(:Views).view(tensor) })
      expect(native.view("text")).to be_nil
    end
  end

  it "is joined from rows" do
    rows = [[[1, 2]], [[3, 4], [5, 6]]].map { |array| described_class.from(array) }
    expect(described_class.concat(rows).to_a).to eq([[1, 2], [3, 4], [5, 6]])
    expect(described_class.concat(rows.take(1))).to be(rows.first)
    [[rows.first, described_class.from([[1]])], [rows.first, described_class.from([[1, 2]], dtype: "uint8")], []]
      .each { |parts| expect { described_class.concat(parts) }.to raise_error(ArgumentError, /\Acan't concatenate/) }
  end

  it "is compared by value, and can be marshalled" do
    tensor = described_class.from([[1, 2.5]])
    expect(described_class.from([[1, 2.5]])).to eq(tensor)
    expect([described_class.from([1, 2.5]), described_class.from([[1, 2.5]], dtype: "float64")]).not_to include(tensor)
    expect({ tensor => 1 }[described_class.from([[1, 2.5]])]).to eq(1)
    expect(Marshal.load(Marshal.dump(tensor))).to eq(tensor)
    expect([tensor.inspect, tensor.frozen?,
            tensor.shape.frozen?]).to eq(["#<Transfer::Tensor float32 1x2>", true, true])
  end

  it "refuses what does not fit" do
    {
      { dtype: "float32", shape: [2], bytes: "abc" } => "float32 [2] takes 8 bytes, got 3",
      { dtype: "float16", shape: [2], bytes: "abcd" } =>
        'unknown dtype "float16" (one of: float32, float64, int64, uint8)',
      { dtype: "uint8", shape: [-1], bytes: "" } => "the shape of a tensor is a list of sizes, got [-1]",
      { dtype: "uint8", shape: [1] * 33, bytes: "a" } => "can't create a tensor: more than 32 dimensions",
      { dtype: "uint8", shape: [2**40, 0], bytes: "" } =>
        "can't create a tensor: uint8 of 1099511627776 x 1 takes 1099511627776 bytes, at most 68719476736 are allowed"
    }.each { |parts, words| expect { described_class.new(**parts) }.to raise_error(ArgumentError, words) }
  end
end
