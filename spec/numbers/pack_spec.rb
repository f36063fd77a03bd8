# frozen_string_literal: true

# Both implementations against Array#pack, and against each other.
RSpec.describe "Transfer's numbers" do
  implementations = { ruby: Transfer.const_get(:Numbers) }
  implementations[:native] = Transfer.const_get(:Native) if Transfer.native?

  def message
    yield
    "no error"
  rescue ArgumentError => error
    error.message.delete_prefix("can't create a tensor: ")
  end

  # A number whose to_f has a side effect.
  def meddler(value = 1.0, &deed)
    Class.new(Numeric) do
      define_method(:to_f) { value.tap { deed&.call } }
      def self.name = "Meddler"
    end.new
  end

  it "is tested with the part in C, unless that was left out on purpose" do
    expect(Transfer.native?).to be(ENV["TRANSFER_NATIVE"] != "0")
  end

  implementations.each do |name, numbers|
    describe "#{name}: pack" do
      define_method(:pack) { |array, dtype = "float32", allow_nan = true| numbers.pack(array, dtype, allow_nan) }

      it "writes the same as Array#pack" do
        expect(pack([[1, 2.5, -0.0],
                     [1e-45, 3.4e38, 0.1]])).to eq([[1, 2.5, -0.0, 1e-45, 3.4e38, 0.1].pack("e*"), [2, 3]])
        expect(pack([0.1, 5e-324, 2**62], "float64")).to eq([[0.1, 5e-324, 2**62].pack("E*"), [3]])
        expect(pack([[[-1], [(2**63) - 1]], [[-2**63], [3.0]]], "int64"))
          .to eq([[-1, (2**63) - 1, -2**63, 3].pack("q<*"), [2, 2, 1]])
        expect(pack([0, 255, 7.0], "uint8")).to eq([[0, 255, 7].pack("C*"), [3]])
        expect(pack(2.5)).to eq([[2.5].pack("e"), []])
        expect(pack(3, "uint8")).to eq(["\3".b, []])
        expect(pack([Float::NAN, -Float::INFINITY, 1e39])).to eq([[Float::NAN, -Float::INFINITY, 1e39].pack("e*"), [3]])
        expect(pack([2**70, -2**70, Rational(1, 3),
                     10**30])).to eq([[2.0**70, -2.0**70, 1 / 3.0, 1e30].pack("e*"), [4]])
        expect(pack([[1]]).first.encoding).to eq(Encoding::BINARY)
      end

      it "accepts empty Arrays" do
        expect([[], [[], []], [[[]]]].map { |array| pack(array) }).to eq([["", [0]], ["", [2, 0]], ["", [1, 1, 0]]])
      end

      it "accepts all real numbers" do
        expect(pack([meddler(2.5)])).to eq([[2.5].pack("e"), [1]])
      end

      it "locates rows of different length or depth" do
        {
          [[1, 2], [3]] => "a row of 1 at [1], expected 2: rows differ in length",
          [[1], [2, 3]] => "a row of 2 at [1], expected 1: rows differ in length",
          [[], [1]] => "a row of 1 at [1], expected 0: rows differ in length",
          [[[1], [2]], [[3], []]] => "a row of 0 at [1, 1], expected 1: rows differ in length",
          [[1], 2] => "2 at [1], expected an Array of 1: rows differ in depth",
          [1, [2]] => "an Array at [1], expected a number: rows differ in depth",
          [[1], nil] => "nil at [1], expected an Array of 1: rows differ in depth"
        }.each { |array, words| expect(message { pack(array) }).to eq(words) }
      end

      it "locates invalid elements" do
        [
          [nil, "nil, expected a number"],
          [[nil], "nil at [0], expected a number"],
          [[[1, "a" * 50]], "\"#{'a' * 39} at [0, 1], expected a number"],
          [[true], "true at [0], expected a number"],
          [[:a], ":a at [0], expected a number"],
          [[Object.new], "an Object at [0], expected a number"],
          [[BasicObject.new], "a BasicObject at [0], expected a number"],
          [[Complex(1, 2)], "(1+2i) at [0], expected a number"],
          [[meddler("1")], "a Meddler at [0], expected a number: its to_f returns no Float"]
        ].each { |array, words| expect(message { pack(array) }).to eq(words) }
      end

      it "locates elements that don't fit integer types" do
        {
          [["int64"], [2**63]] => "9223372036854775808 at [0] does not fit int64",
          [["int64"], [1, 1e19]] => "1.0e+19 at [1] does not fit int64",
          [["uint8"], [256]] => "256 at [0] does not fit uint8",
          [["uint8"], [-1]] => "-1 at [0] does not fit uint8",
          [["uint8"], [2**80]] => "1208925819614629174706176 at [0] does not fit uint8",
          [["uint8"], [1.5]] => "1.5 at [0], expected a whole number for uint8",
          [["int64"], [Float::NAN]] => "NaN at [0], expected a whole number for int64",
          [["int64"], [Rational(1, 2)]] => "(1/2) at [0], expected a whole number for int64"
        }.each { |((dtype), array), words| expect(message { pack(array, dtype) }).to eq(words) }
        expect(pack([Rational(4, 2)], "int64")).to eq([[2].pack("q<"), [1]])
      end

      it "refuses NaN and Infinity if they are not allowed" do
        {
          [[1.0, Float::NAN]] => "NaN at [0, 1], expected a finite number",
          [-Float::INFINITY] => "-Infinity at [0], expected a finite number",
          [3.5e38] => "3.5e+38 at [0], expected a finite number of float32",
          [10**39] => "1000000000000000000000000000000000000000 at [0], expected a finite number of float32"
        }.each { |array, words| expect(message { pack(array, "float32", false) }).to eq(words) }
        largest = [0x7F7FFFFF].pack("L<").unpack1("e")
        expect(pack([largest], "float32", false)).to eq([[largest].pack("e"), [1]])
        words = message { pack([largest.next_float], "float32", false) }
        expect(words).to end_with("expected a finite number of float32")
        expect(pack([3.5e38], "float64", false).last).to eq([1])
      end

      it "refuses too many dimensions" do
        deep = 32.times.inject(1) { |inner, _| [inner] }
        expect(pack(deep).last).to eq([1] * 32)
        endless = []
        endless << endless
        expect([[deep], endless].map { |array| message { pack(array) } }).to eq(["more than 32 dimensions"] * 2)
      end

      it "refuses sizes beyond the limit" do
        row = [0.0] * 100_000
        array = 7.times.inject(row) { |inner, _| [inner] * 100_000 }
        expect(message { pack(array) }).to eq(
          "float32 of #{(['100000'] * 8).join(' x ')} takes 4#{'0' * 40} bytes, at most 68719476736 are allowed"
        )
      end

      it "detects an Array that changes while it is read" do
        shrinking = [1.0, nil, 3.0]
        shrinking[1] = meddler { shrinking.clear }
        growing = [meddler { growing.push(*[2.0] * 100_000) }, 1.0]
        outer = [[1.0], [nil], [3.0]]
        outer[1][0] = meddler { outer.pop }
        expect([shrinking, growing, outer].map { |array| message { pack(array) } })
          .to eq(["an Array was changed while its numbers were read"] * 3)
      end

      it "reads the current value of each element" do
        row = [nil, 2.0, 3.0]
        row[0] = meddler { row[1] = 7.0 }
        expect(pack(row).first).to eq([1.0, 7.0, 3.0].pack("e*"))
        outer = [[nil], [2.0]]
        outer[0][0] = meddler { outer[1] = [9.0, 9.0] }
        expect(message { pack(outer) }).to eq("a row of 2 at [1], expected 1: rows differ in length")
      end

      it "raises errors of a number's conversion unchanged" do
        array = [[1.0, meddler { raise IOError, "from to_f" }]]
        expect { pack(array) }.to raise_error(IOError, "from to_f")
        expect(catch(:out) { pack([meddler { throw :out, 5 }]) }).to eq(5)
      end

      it "works under GC stress and compaction" do
        array = Array.new(3) { Array.new(4) { rand } }
        expected = [array.flatten.pack("e*"), [3, 4]]
        moved = [[nil, 2.0], [3.0, 4.0]]
        moved[0][0] = meddler { moved[0] = [8.0, 8.0] and GC.start and (GC.compact if GC.respond_to?(:compact)) }
        GC.stress = true
        results = [pack(array), pack([1.5, 2**70]), numbers.unpack(expected.first, "float32", [3, 4])]
        GC.stress = false
        expect(results).to eq([expected, [[1.5, 2**70].pack("e*"), [2]],
                               expected.first.unpack("e*").each_slice(4).to_a])
        expect(pack(moved).first).to eq([1.0, 2.0, 3.0, 4.0].pack("e*"))
      ensure
        GC.stress = false
      end
    end

    describe "#{name}: unpack" do
      it "reads the output of Array#pack" do
        expect(numbers.unpack((0...6).to_a.pack("e*"), "float32", [1, 2, 3])).to eq([[[0, 1, 2], [3, 4, 5]]])
        expect(numbers.unpack([0.1, -0.0].pack("E*"), "float64", [2])).to eq([0.1, -0.0])
        expect(numbers.unpack([-2**63, 2**62].pack("q<*"), "int64", [2, 1])).to eq([[-2**63], [2**62]])
        expect(numbers.unpack("\0\x7F\xFF".b, "uint8", [3])).to eq([0, 127, 255])
        expect(numbers.unpack([2.5].pack("E"), "float64", [])).to eq(2.5)
        expect(numbers.unpack([Float::NAN].pack("e"), "float32", [1]).first).to be_nan
      end

      it "keeps the number of empty rows" do
        shapes = [[0], [2, 0], [0, 1280], [2, 0, 3], [1, 2, 0]]
        rows = shapes.map { |shape| numbers.unpack("", "float32", shape) }
        expect(rows).to eq([[], [[], []], [], [[], []], [[[], []]]])
      end
    end
  end

  if Transfer.native?
    describe "one against the other" do
      def value(random, dtype)
        case random.rand(40)
        when 0 then [nil, "1", true, [1], Object.new, 1i].sample(random:)
        when 1 then [Float::NAN, -Float::NAN, Float::INFINITY, 2**64, -2**63 - 1, 3.5e38, 1.5, -0.0,
                     5e-324].sample(random:)
        when 2 then Rational(random.rand(9), 1 + random.rand(3))
        else dtype.start_with?("float") && random.rand < 0.8 ? random.rand - 0.5 : random.rand(256)
        end
      end

      def nested(random, dtype, shape)
        return value(random, dtype) if shape.empty?

        side = shape.first + (random.rand(60).zero? ? random.rand(-1..1) : 0)
        Array.new([side, 0].max) { nested(random, dtype, shape.drop(1)) }
      end

      it "has the same bytes, shapes and error messages for random input" do
        random = Random.new(RSpec.configuration.seed)
        outcomes = Array.new(3000) do
          dtype = Transfer::Tensor::DTYPES.sample(random:)
          array = nested(random, dtype, Array.new(random.rand(4)) { random.rand(5) })
          allow_nan = random.rand(2).zero?
          one, other = implementations.values.map do |numbers|
            numbers.pack(array, dtype, allow_nan)
          rescue ArgumentError => error
            error.message
          end
          expect(one).to eq(other), "#{array.inspect} as #{dtype}: #{one.inspect} and #{other.inspect}"
          next one.class if one.is_a?(String)

          back = implementations.values.map { |numbers| numbers.unpack(one.first, dtype, one.last) }
          expect(back.map(&:inspect).uniq.size).to eq(1)
          one.class
        end
        expect(outcomes.tally.values).to all(be > 300)
      end

      it "refuses shapes that don't match the bytes" do
        native = implementations[:native]
        expect { native.unpack("abcd", "float32", [2]) }.to raise_error(ArgumentError, "[2] does not take 4 bytes")
        many = [2**40, 2**40]
        expect { native.unpack("", "float32", many) }.to raise_error(ArgumentError, "a shape of too many numbers")
        expect { native.unpack("", "float32", [1] * 33) }.to raise_error(ArgumentError, /more than 32 dimensions/)
        expect { native.unpack("", "float16", [1]) }.to raise_error(ArgumentError, "unknown dtype float16")
        expect { native.unpack("", "float32", nil) }.to raise_error(TypeError)
        expect { native.unpack(nil, "float32", [1]) }.to raise_error(TypeError)
        expect { native.unpack("", "float32", [-1]) }.to raise_error(ArgumentError, "a shape of too many numbers")
        expect { native.unpack("", "float32", ["1"]) }.to raise_error(TypeError)
      end
    end
  end
end
