# frozen_string_literal: true

# Records whose file is not attached, or missing from storage.
RSpec.describe "Active Storage", :end_to_end do
  describe "with Rails" do
    it "names records without a file, and skips them on request" do
      begin
        %w[activestorage railties sqlite3].each { |name| gem name }
      rescue LoadError => error
        skip "#{error.message}: bin/setup --dev installs it"
      end
      folder = photo_folder("#{@scratch}/rails", count: 6, colors: Photos::COLORS.slice("red", "blue"))
      script = File.expand_path("../support/rails/photos.rb", __dir__)
      home = { "TRANSFER_HOME" => "#{@scratch}/home" }
      out, err, status = Open3.capture3(home, RbConfig.ruby, "-I", Scripts::LIB, script, folder)
      expect(status).to be_success, err
      told = JSON.parse(out.lines.last, symbolize_names: true)
      bare, lost = told[:names]
      both = ["#{bare}: no file is attached", "#{lost}: its file is missing from storage"]

      expect(told[:refused]).to start_with("2 images can't be used: #{both.join('; ')} (fix or remove them")
      expect(told[:warnings].join).to include("left out 2 images that can't be used: #{both.join('; ')}")
      expect(told.values_at(:sizes, :examples)).to eq([12, 12])
      expect(told[:evaluate]).to start_with("#{both[0]} (fix or remove it")
      expect(told[:one]).to eq([*both, both[1]])
      expect(told[:marked]).to eq(["red", *both, "red"])
      expect(told[:relation]).to eq((["red"] * 6) + (["blue"] * 6) + %w[bad bad])
      expect(told[:streamed]).to eq((["red"] * 6) + (["blue"] * 6))
    end
  end

  describe "with the same interface" do
    missing = Class.new(StandardError) { def self.name = "ActiveStorage::FileNotFoundError" }
    attachment = Struct.new(:record, :bytes) do
      def attached? = !bytes.nil?
      def respond_to_missing?(name, *) = name == :download && attached?

      define_method(:method_missing) do |name, *|
        return super(name) unless name == :download

        bytes == :lost ? raise(missing) : bytes
      end
    end

    def row(id, bytes, label, attachment) = { input: attachment.new(record(id), bytes), label: }

    def record(id) = Struct.new(:id) { def self.name = "Photo" }.new(id)

    it "names the record of a bad input" do
      colors = Photos::COLORS.slice("red", "blue")
      rows = colors.flat_map do |label, color|
        Array.new(4) do |i|
          row(i, png(color, random: Random.new(i)), label, attachment)
        end
      end
      bad = [row(12, nil, "red", attachment), row(13, :lost, "blue", attachment)]
      words = { backbone: "mobilenet_v2", data: rows + bad }
      expect { Transfer.train(**words) }.to raise_error(
        Transfer::DataError, "2 images can't be used: Photo 12: no file is attached; Photo 13: its file is missing " \
                             "from storage (fix or remove them, or use on_bad_input: :skip)"
      )
      model = Transfer.train(**words, on_bad_input: :skip)
      expect(model.summary[:sizes].values.sum).to eq(8)
      measured = nil
      expect { measured = model.evaluate(rows + bad, on_bad_input: :skip) }.to output(/left out 2 images/).to_stderr
      expect(measured[:examples]).to eq(8)
      expect { model.predict(bad[0][:input]) }.to raise_error(Transfer::DataError, "Photo 12: no file is attached")
      expect(model.predict([rows[0], bad[1]].map { |each| each[:input] }, on_bad_input: :mark).map(&:to_s))
        .to eq(["red", "Photo 13: its file is missing from storage"])
    end

    it "raises other errors of the storage unchanged" do
      down = Object.new.tap { |blob| def blob.download = raise(IOError, "the network is down") }
      expect { Transfer.const_get(:Input).wire(down, "image") }.to raise_error(IOError, "the network is down")
    end
  end
end
