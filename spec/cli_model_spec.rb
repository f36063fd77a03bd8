# frozen_string_literal: true

require "fileutils"
require "json"

# Train, predict, evaluate and embed, with the real core.
RSpec.describe "A model on the command line", :scratch do
  describe "saving" do
    it "checks before the training that the file can be written" do
      FileUtils.touch("#{@scratch}/old.transfer")
      {
        @scratch => "#{@scratch} is a directory. Fix: name a file, such as #{@scratch}/model.transfer",
        "#{@scratch}/old.transfer" => "#{@scratch}/old.transfer exists already. Fix: --force overwrites it",
        "/dev/null" => "/dev/null can't be written: it is not a regular file",
        "#{@scratch}/no/m.transfer" =>
          "#{@scratch}/no/m.transfer can't be written: there is no directory #{@scratch}/no"
      }.each do |file, message|
        expect(transfer("train", "photos", "--backbone", "mobilenet_v2", "--save", file)).to eq(
          ["", "transfer: #{message}\n", 4]
        )
      end
    end
  end

  # One small training, then everything that can be done with its model.
  describe "of images", :folder do
    before(:context) do
      photo_folder("#{@folder}/photos", count: 10)
      @trained = transfer("train", "#{@folder}/photos", "--backbone", "mobilenet_v2", "--save", model)
      Transfer.shutdown
    end

    def model = "#{@folder}/colors.transfer"
    def photo(color) = "#{@folder}/photos/#{color}/0.png"

    it "is trained, measured and saved" do
      out, err, status = @trained
      expect([err, status]).to eq(["", 0])
      expect(out.gsub(/[\d.]+ s$/, "1.0 s")).to eq(<<~TEXT)
        Accuracy on 6 held-out images: 100.0 % (95 % interval 100.0 % to 100.0 %)
        Balanced accuracy: 100.0 %, macro-F1: 1.000
        Baseline (always "green"): 33.3 %
        Images: train 20 + valid 4 + test 6 = 30; 24 fitted, 24 calibrated on (cross-validation), 6 measured; took 1.0 s
        Warning: only 6 images are measured, each of them is 17 points of accuracy
        Saved #{model} (#{(File.size(model) / 1e6).round(1)} MB)
        Next: transfer predict #{model} INPUT
      TEXT
    end

    it "is trained on everything if nothing is to be held out" do
      out, err, status = transfer("train", "#{@folder}/photos", "--test-size", "0")
      expect([out.lines.first, err, status]).to eq(["No metrics: nothing was held out\n", "", 0])
    end

    it "averages predictions over views, in Ruby as well" do
      out, err, status = transfer("predict", model, "--augment", "flip,crop", photo("red"), photo("blue"))
      expect([err, status]).to eq(["", 0])
      loaded = Transfer.load(model)
      inputs = [photo("red"), photo("blue")]
      found = loaded.predict(inputs, augment: %i[flip crop])
      expect(out).to eq(found.zip(inputs).map do |one, input|
                          format("%s\t%.4f\t%s\n", one.label, one.score, input)
                        end.join)
      expect(loaded.predict(inputs,
                            augment: [{ crop: { min_scale: 0.8 } }])).to eq(loaded.predict(inputs, augment: true))
      expect(loaded.predict(inputs, augment: true)).not_to eq(loaded.predict(inputs))
      expect do
        loaded.predict(inputs, augment: [:mosaic])
      end.to raise_error(Transfer::RecipeError, /mosaic is for training/)
      _, err, status = transfer("predict", model, "--augment", "flp", photo("red"))
      expect([err, status]).to match([/unknown augmentation "flp", did you mean "flip"\?/, 2])
    end

    it "predicts, with names from the command line or from standard input, in words or in JSON" do
      photos = [photo("red"), photo("blue")]
      out, err, status = transfer("predict", model, *photos)
      expect([err, status]).to eq(["", 0])
      expect(out).to match(/\Ared\t[01]\.\d{4}\t#{photos[0]}\nblue\t[01]\.\d{4}\t#{photos[1]}\n\z/)
      expect(transfer("predict", model, "-", input: photos.join("\n\n")).first).to eq(out)

      top = transfer("predict", model, photos[0], "--top", "3").first.lines(chomp: true).map { |line| line.split("\t") }
      expect(top.map(&:first)).to contain_exactly("red", "green", "blue")
      expect(top.sum { |_, score, _| score.to_f }).to be_within(1e-3).of(1)

      json = JSON.parse(transfer("predict", model, "--json", "-", input: photos[0]).first)
      expect(json).to match({ "input" => photos[0], "label" => "red", "score" => be_between(0, 1),
                              "scores" => include("green", "red", "blue"), "novelty" => be_between(0, 1),
                              "unknown" => false })
    end

    it "reads standard input as UTF-8 in any locale, and prints names unchanged" do
      FileUtils.cp(photo("red"), file = "#{@scratch}/f\u00F6to  1.png")
      lines = "#{file}\n".force_encoding(Encoding::US_ASCII)
      expect(transfer("predict", model, "-", input: lines)).to match([/\Ared\t\S+\t#{file}\n\z/, "", 0])
      expect(JSON.parse(transfer("predict", model, "--json", "-", input: lines).first)["input"]).to eq(file)
      expect(transfer("predict", model, "-", input: "#{file}\n\ncaf\xE9\n")).to match(
        [/\Ared/, "transfer: line 3 of standard input: \"caf\\xE9\" is not valid UTF-8. " \
                  "Fix: convert the text, or rename the file\n", 5]
      )
      expect(transfer("predict", model, "-", input: "#{file}\n".force_encoding("ISO-8859-1")).last).to eq(0)
    end

    it "is described, and evaluated on other data" do
      expect(transfer("info", model).first).to match(
        /^labels    blue, green, red$.*^backbone  mobilenet_v2$.*^Accuracy on 6 held-out images/m
      )
      expect(JSON.parse(transfer("info", model, "--json").first)["recipe"]).to include("backbone" => "mobilenet_v2")

      photo_folder("#{@scratch}/new", count: 3, seed: 5)
      FileUtils.mv("#{@scratch}/new/blue/0.png", "#{@scratch}/new/red/mislabelled.png")
      expect(transfer("evaluate", model, "#{@scratch}/new").first).to eq(<<~TEXT)
        Accuracy on 9 images: 88.9 % (95 % interval 66.7 % to 100.0 %)
        Balanced accuracy: 91.7 %, macro-F1: 0.886
        Baseline (always "green"): 33.3 %
        Most confused: red as blue (1)
        Prediction sets at level 90.0 %: coverage 88.9 % (95 % interval 66.7 % to 100.0 %), mean size 1.0

        class  precision  recall     f1  images
        blue       0.667   1.000  0.800       2
        green      1.000   1.000  1.000       3
        red        1.000   0.750  0.857       4

        truth / predicted  blue  green  red
        blue                  2      0    0
        green                 0      3    0
        red                   1      0    3
      TEXT
      page = "#{@scratch}/report.html"
      expect(transfer("report", model, "--output", page, "--data", "#{@scratch}/new")).to eq(["#{page}\n", "", 0])
      expect(File.read(page)).to include("<h2 id=\"section-1\">Summary</h2>", "data:image/jpeg;base64,")
      json = JSON.parse(transfer("evaluate", model, "#{@scratch}/new", "--json").first)
      expect(json).to include("accuracy" => be_within(1e-9).of(8 / 9r))
    end

    it "shows pictures on terminals that can, and nowhere else" do
      none = %i[KITTY_WINDOW_ID TERM TERM_PROGRAM LC_TERMINAL TMUX STY TRANSFER_PICTURES].to_h { |name| [name, nil] }
      png = Transfer.load(model).explain(photo("red")).overlay.b
      text = "red (hirescam)\n"
      shown, = transfer_on_terminal("explain", model, photo("red"), **none, KITTY_WINDOW_ID: "1")
      chunks = shown.delete_prefix(text).delete_suffix("\n").scan(/\e_G([^;]*);([^\e]*)\e\\/)
      expect(shown).to eq("#{text}#{chunks.map { |keys, data| "\e_G#{keys};#{data}\e\\" }.join}\n")
      expect(chunks.sum("".b) { |_, data| data }.unpack1("m0")).to eq(png)
      expect(chunks.map { |_, data| data.size }).to all(be <= 4096)
      expect(chunks.map(&:first)).to eq(["a=T,f=100,q=2,m=1", *["m=1"] * (chunks.size - 2), "m=0"])

      iterm = { **none, TERM_PROGRAM: "iTerm.app" }
      shown, = transfer_on_terminal("explain", model, photo("red"), **iterm)
      expect(shown).to eq("#{text}\e]1337;File=inline=1;size=#{png.bytesize}:#{[png].pack('m0')}\a\n")

      saved = ["explain", model, photo("red"), "--force", "--output", "#{@scratch}/why.png"]
      text = "red (hirescam): #{@scratch}/why.png\n"
      [{ TERM: "xterm-256color" }, { **iterm, TRANSFER_PICTURES: "0" }, { **iterm, TMUX: "/tmp/x" }].each do |env|
        expect(transfer_on_terminal(*saved, **none, **env)).to eq([text, 0])
      end
      expect(transfer_on_terminal(*saved, "--no-pictures", **iterm)).to eq([text, 0])
      expect(transfer_on_terminal(*saved, "--json", **iterm).first).not_to include("\e")
      expect(transfer_on_terminal(*saved, "--pictures", **iterm, TRANSFER_PICTURES: "0").first).to include("\e]1337;")
      expect(transfer(*saved, "--pictures").first).to eq(text)
    end

    it "draws the loss of trainings with three epochs or more" do
      arguments = ["train", "#{@folder}/photos", "--backbone", "mobilenet_v2", "--optimizer", "adam"]
      line = transfer(*arguments, "--epochs", "3").first[/^Loss.*/]
      expect(line).to match(/\ALoss of train, 3 epochs: [▁-█]{3} [\d.e-]+ to [\d.e-]+\z/)
      expect(transfer(*arguments, "--epochs", "2").first).not_to match(/^Loss/)
    end

    # Reads the three formats as others would, and compares.
    let(:reader) do
      <<~PYTHON
        import csv, json, sys, numpy
        npy, table, lines = sys.argv[1:]
        vectors = numpy.load(npy)
        header, *rows = csv.reader(open(table))
        objects = [json.loads(line) for line in open(lines)]
        assert vectors.dtype == numpy.float32 and vectors.shape == (2, 1280), vectors.shape
        assert (vectors == numpy.array([row[1:] for row in rows], dtype=numpy.float32)).all()
        assert (vectors == numpy.array([o["embedding"] for o in objects], dtype=numpy.float32)).all()
        assert [row[0] for row in rows] == [o["input"] for o in objects]
        print(*[row[0] for row in rows])
      PYTHON
    end

    it "embeds into .npy, .csv and .jsonl, the same numbers in each" do
      photos = [photo("red"), photo("blue")]
      files = %w[npy csv jsonl].map { |ending| "#{@scratch}/vectors.#{ending}" }
      files.each do |file|
        expect(transfer("embed", model, *photos, "--output", file)).to eq(["2 x 1280 numbers in #{file}\n", "", 0])
      end
      names, status = Open3.capture2e(ENV.fetch("TRANSFER_PYTHON"), "-c", reader, *files)
      expect([names.split, status.success?]).to eq([photos, true])
      expect(transfer("embed", model, "--output", "#{@scratch}/none.npy", "-", input: "\n")).to eq(
        ["", "transfer: standard input has no inputs. Try: transfer help embed\n", 2]
      )
      expect(transfer("embed", model, photos[0], "--output", "vectors.txt")).to eq(
        ["", "transfer: vectors.txt must end in one of .npy, .csv, .jsonl\n", 4]
      )
    end

    it "overwrites a file of vectors with --force only" do
      File.write(file = "#{@scratch}/vectors.csv", "mine")
      expect(transfer("embed", "none.transfer", photo("red"), "--output", file))
        .to eq(["", "transfer: #{file} exists already. Fix: --force overwrites it\n", 4])
      expect(transfer("embed", "none.transfer", photo("red"), "--output", "#{@scratch}/no/v.npy").last(2))
        .to match([/no directory #{@scratch}/, 4])
      expect(transfer("embed", model, photo("red"), "--output", file, "--force").last).to eq(0)
      expect(File.read(file)).to start_with("input,0,1")
    end

    # The command with what it prints in pipes, which the block reads and writes.
    # @return [Array(Integer, String)] status and standard error
    def piped(*argv)
      input, feed = IO.pipe
      out, writer = IO.pipe
      err = Tempfile.new("stderr")
      pid = spawn({ "TRANSFER_HOME" => @scratch }, RbConfig.ruby, "-I", Scripts::LIB, "gem/exe/transfer", *argv,
                  in: input, out: writer, err: err.path)
      [input, writer].each(&:close)
      yield feed, out
      feed.close
      [Process.wait2(pid).last.exitstatus, err.read]
    ensure
      [feed, out].each(&:close)
    end

    it "prints a line as soon as its input has arrived" do
      outcome = piped("predict", model, "--json", "-") do |feed, out|
        %w[red blue].each do |color|
          feed.puts(photo(color))
          expect(JSON.parse(out.gets)).to include("input" => photo(color), "label" => color)
        end
        feed.puts("none.png")
        expect(JSON.parse(out.gets)).to match(
          { "input" => "none.png", "error" => include("code" => "data", "message" => /none.png/) }
        )
      end
      expect(outcome).to eq([5, ""])
    end

    it "ends without a message if the reader of the output has ended" do
      outcome = piped("predict", model, "-") do |feed, out|
        feed.puts(photo("red"))
        expect(out.gets).to start_with("red\t")
        out.close
        feed.puts(photo("red"))
      end
      expect(outcome).to eq([141, ""])
    end
  end

  describe "with code of its own" do
    before do
      photo_folder("#{@scratch}/photos", count: 6)
      Dir.mkdir("#{@scratch}/nets")
      File.write("#{@scratch}/nets/hubconf.py", <<~PYTHON)
        from torch import nn

        def tiny(pretrained=False):
            body = [nn.Conv2d(3, 8, 7, 4), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 10)]
            return nn.Sequential(*body)
      PYTHON
      transfer("train", "#{@scratch}/photos", "--backbone", "torchhub:#{@scratch}/nets:tiny", "--trust",
               "--save", model)
      go_to("#{@scratch}/elsewhere")
    end

    after { go_to(@usual) }

    def model = "#{@scratch}/tiny.transfer"

    # The trust of one home is not that of another.
    def go_to(home)
      Transfer.shutdown
      @usual = Transfer.config.home
      Transfer.config.home = home
    end

    it "is used with --trust only" do
      photo = Dir["#{@scratch}/photos/*/*.png"].first
      expect(transfer("predict", model, photo)).to match(["", /Fix: `--trust` if you trust it$/, 2])
      expect(transfer("predict", model, photo, "--trust")).to match([/\t#{photo}$/, "", 0])
      Transfer.shutdown
      File.write("#{@scratch}/elsewhere/trusted", "")
      expect(transfer("evaluate", model, "#{@scratch}/photos", "--trust").last).to eq(0)
      expect(transfer("embed", model, photo, "--json", "--trust").last).to eq(0)
    end
  end
end
