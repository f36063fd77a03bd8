# frozen_string_literal: true

require "logger"

RSpec.describe "Unreadable inputs", :end_to_end do
  before(:context) do
    @photos = photo_folder("#{@scratch}/photos", count: 6, colors: Photos::COLORS.slice("red", "blue"))
    @model = Transfer.train(backbone: "mobilenet_v2", data: @photos)
    @file = @model.save("#{@scratch}/colors.transfer").to_s
    @red = "#{@photos}/red/0.png"
    @blue = "#{@photos}/blue/0.png"
    File.write(@empty = "#{@scratch}/empty.png", "")
    File.binwrite(@cut = "#{@scratch}/cut.png", File.binread(@red)[0, 100])
    @none = "#{@scratch}/none.png"
  end

  def mixed = [@red, @none, @blue, @empty, @cut]

  def messages
    ["#{@none}: no such file", "#{@empty}: the file is empty", "#{@cut}: the file is truncated"]
  end

  describe "of predict" do
    it "are all named in one error" do
      expect { @model.predict(mixed) }.to raise_error(Transfer::DataError) { |error|
        expect(error.message).to eq("3 of 5 inputs can't be used: #{messages.join('; ')}")
        expect(error.backtrace.first).to start_with("#{__FILE__}:#{__LINE__ - 2}:in")
      }
      many = Array.new(30) { |i| "#{@scratch}/#{i}.png" }
      expect { @model.predict(many) }.to raise_error(/\A30 of 30 inputs.*\b19\.png: no such file; and 10 more\z/)
      expect { @model.predict([@red, "", 5]) }.to raise_error(ArgumentError, /\Aimage 3 of 3: an input is a path/)
    end

    it "are marked, each in its place" do
      red, none, blue, empty, = results = @model.predict([*mixed, 5, ""], on_bad_input: :mark)
      expect(results.map(&:ok?)).to eq([true, false, true, false, false, false, false])
      expect(results.map(&:failed?)).to eq(results.map(&:ok?).map(&:!))
      expect([red, blue].map(&:label)).to eq(%w[red blue])
      expect(red.error).to be_nil
      expect(none).to have_attributes(input: @none, path: @none, message: messages[0], error: Transfer::DataError)
      expect(JSON.parse(empty.to_json)).to eq({ "error" => messages[1], "path" => @empty })
      expect(results[4..].map(&:message)).to match(
        [messages[2], /\Aimage 6 of 7: .*, got Integer\z/, "image 7 of 7: an empty path, expected a file or a folder"]
      )
      expect(@model.predict(@none, on_bad_input: :mark).to_s).to eq(messages[0])
      expect(@model.predict([@none], on_bad_input: :mark).size).to eq(1)
    end

    it "are skipped with a warning" do
      Transfer.config.logger = Logger.new(log = StringIO.new)
      expect(@model.predict(mixed, on_bad_input: :skip).map(&:label)).to eq(%w[red blue])
      expect(log.string).to include("left out 3 inputs that can't be read, for example #{messages[0]}")
      expect(@model.predict(@none, on_bad_input: :skip)).to be_nil
    ensure
      Transfer.config.logger = nil
    end

    it "refuses other values of on_bad_input" do
      expect { @model.predict(@red, on_bad_input: :ignore) }
        .to raise_error(ArgumentError, "on_bad_input is :raise, :skip or :mark, got :ignore")
    end

    it "fail alone where other threads predict at the same time" do
      expected = @model.predict([@red, @blue]).map(&:label)
      results = Array.new(8) { Thread.new { @model.predict([@red, @none, @blue], on_bad_input: :mark) } }.map(&:value)
      expect(results.map { |red, none, blue| [red.label, none.ok?, blue.label] }.uniq)
        .to eq([[expected[0], false, expected[1]]])
    end
  end

  describe "and streams" do
    # 150 photos, and the number of those consumed.
    def source
      taken = 0
      stream = Enumerator.new do |out|
        150.times do |i|
          taken += 1
          out << (i == 70 ? @none : [@red, @blue][i % 2])
        end
      end
      [stream, -> { taken }]
    end

    it "yields predictions as batches complete" do
      stream, taken = source
      seen = []
      taken_at_first = nil
      returned = @model.predict(stream, on_bad_input: :mark) do |prediction|
        taken_at_first ||= taken.call
        seen << prediction
      end
      expect(returned).to equal(@model)
      expect(taken_at_first).to eq(8 + 16)
      expect(seen.map { |one| one.ok? ? one.label : one.message })
        .to eq(Array.new(150) { |i| i == 70 ? messages[0] : %w[red blue][i % 2] })
    end

    it "is lazy for a lazy enumerator" do
      stream, taken = source
      predictions = @model.predict(stream.lazy, on_bad_input: :skip)
      expect([predictions, taken.call]).to match([Enumerator::Lazy, 0])
      expect(predictions.first(2).map(&:label)).to eq(%w[red blue])
      expect(taken.call).to eq(8 + 16)
      expect(@model.predict(Set[@red, @blue]).map(&:label)).to eq(%w[red blue])
      expect { @model.predict(stream) { nil } }.to raise_error(Transfer::DataError, messages[0])
    end
  end

  describe "of the command line" do
    it "are lines on standard error, the others are predicted" do
      out, err, status = transfer("predict", @file, "-", input: mixed.join("\n"))
      expect(out.lines(chomp: true).map { |line| line.split("\t").values_at(0, 2) })
        .to eq([["red", @red], ["blue", @blue]])
      expect([err, status]).to eq([messages.map { |message| "transfer: #{message}\n" }.join, 5])
      expect(transfer("predict", @file, @none)).to eq(["", "transfer: #{messages[0]}\n", 3])
      expect(transfer("predict", @file, @red)[1..]).to eq(["", 0])
    end

    it "are JSON Lines with an error" do
      out, err, status = transfer("predict", @file, "--json", *mixed)
      error = { "code" => "data", "message" => messages[0], "path" => @none }
      expect(out.lines.map { |line| JSON.parse(line) }).to match(
        [include("label" => "red"), { "input" => @none, "error" => error }, include("label" => "blue"),
         include("error"), include("error")]
      )
      expect([err, status]).to eq(["", 5])
    end

    it "are skipped or stop the command on request" do
      out, err, status = transfer("predict", @file, "--on-bad-input", "skip", *mixed)
      expect([out.lines.size, err, status]).to eq([2, "transfer: warning: skipped 3 inputs that can't be read\n", 0])
      expect(transfer("predict", @file, "--on-bad-input", "raise", *mixed))
        .to match([/\Ared/, "transfer: #{messages[0]}\n", 3])
    end
  end
end
