# frozen_string_literal: true

require "fileutils"
require "json"
require "tmpdir"
require "transfer/cli"

RSpec.describe Transfer::CLI do
  around do |example|
    Dir.mktmpdir do |scratch|
      @scratch = File.realpath(scratch)
      example.run
    end
  end

  describe "usage" do
    it "teaches the commands, and every command with an example, in 80 columns" do
      out, err, status = transfer("help")
      expect([err, status]).to eq(["", 0])
      commands = out.scan(/^transfer (\w+)/).flatten
      expect(commands).to eq(%w[help train check resume runs predict evaluate embed backbones info keygen sign verify
                                cache worker setup doctor version uninstall])
      pages = (commands - ["help"]).map { |command| transfer("help", command).first }
      expect([out, *pages].join.lines(chomp: true).map(&:size).max).to be <= 80
      expect(pages.first(14)).to all(match(/^  transfer \w+ .*/))
    end

    it "explains a command with --help and -h, too" do
      page = transfer("help", "predict")
      start = "transfer predict MODEL INPUT...\n\nPredict labels or values for photos, texts or rows.\n"
      expect(page.first).to start_with(start)
      [%w[predict --help], %w[predict -h], %w[predict x.transfer --help]].each do |argv|
        expect(transfer(*argv)).to eq(page)
      end
    end

    it "shows all commands when none is given" do
      expect(transfer).to eq(transfer("help"))
      expect(transfer("--help")).to eq(transfer("help"))
    end

    {
      %w[trian photos] => 'unknown command "trian", did you mean "train"?; transfer help lists them',
      %w[dance] => 'unknown command "dance"; transfer help lists them',
      %w[help trian] => 'unknown command "trian", did you mean "train"?; transfer help lists them',
      %w[train photos --backbone x --epoch 3] =>
        'unknown option "--epoch", did you mean "--epochs"?; transfer help train lists them',
      %w[--epoch 3] => 'unknown option "--epoch"; transfer help lists them',
      ["train", "photos", "--save", ""] =>
        "--save needs the name of a file, such as model.transfer; transfer help train explains it",
      %w[train] => '"transfer train" was called with no arguments; transfer help train explains it',
      %w[train photos --backbone x --fine-tune-epochs 3] =>
        "fine-tuning needs --unfreeze-last N, --unfreeze-all or --lora-rank N; transfer help train explains it",
      %w[predict m.transfer] =>
        "name at least one input, or - to read them from standard input; transfer help predict explains it",
      %w[embed m.transfer a.png] =>
        "name a file with --output (.npy, .csv, .jsonl), or give --json; transfer help embed explains it",
      %w[predict m.transfer a.png --top 0] =>
        "--top takes a whole number from 1 on, got 0; transfer help predict explains it",
      %w[predict m.transfer a.png --top -1] =>
        "--top takes a whole number from 1 on, got -1; transfer help predict explains it",
      %w[predict m.transfer a.png --top 1.5] =>
        "--top takes a whole number from 1 on, got 1.5; transfer help predict explains it",
      ["predict", "m.transfer", "-5 degrees"] => 'unknown option "-5 degrees"; transfer help predict lists them',
      %w[train spec --target-column species] =>
        "spec is a folder, which has no columns: its labels are the names of its folders; " \
        "transfer help train explains it",
      ["embed", "m.transfer", "a.png", "--output", ""] =>
        "--output needs the name of a file, such as vectors.npy; transfer help embed explains it",
      %w[backbones --max-parameters 1.2.3M] =>
        "--max-parameters takes a number such as 10M, got 1.2.3M; transfer help backbones explains it",
      %w[backbones --sort size] =>
        "expected '--sort' to be one of relevance, name, parameters, metric; got size; " \
        "transfer help backbones explains it"
    }.each do |argv, message|
      it "answers `transfer #{argv.join(' ')}` with status 2" do
        expect(transfer(*argv)).to eq(["", "transfer: #{message}\n", 2])
      end
    end

    it "takes everything after -- for input" do
      ["-h", "--help", "-5 degrees"].each do |text|
        expect(transfer("predict", "none.transfer", "--", text)).to match(["", /\Atransfer: .*none.transfer/, 1])
      end
      expect(transfer("help", "predict").first).to include("What follows -- is an input")
    end

    it "knows the versions of both halves" do
      gem = "transfer-rb #{Transfer::VERSION} (Ruby #{RUBY_VERSION})\n"
      expect(transfer("version")).to match(
        [/\A#{Regexp.escape(gem)}transfer-core #{Transfer::VERSION} \(Python 3\.\S+, PyTorch \d\S+\)\n\z/, "", 0]
      )
      expect(JSON.parse(transfer("version", "--json").first))
        .to include("transfer" => Transfer::VERSION, "transfer_core" => Transfer::VERSION, "torch" => /\A\d/)
      expect(executable("version", TRANSFER_PYTHON: "/nowhere"))
        .to eq(["#{gem}transfer-core: not usable, transfer doctor says why\n", "", 0])
    end

    it "knows its own version whatever Python does" do
      gem = "transfer-rb #{Transfer::VERSION} (Ruby #{RUBY_VERSION})\n"
      unusable = ["#{gem}transfer-core: not usable, transfer doctor says why\n", "", 0]
      expect(executable("version", TRANSFER_PYTHON: "/bin/true")).to eq(unusable)
      expect(executable("version", TRANSFER_TIMEOUT: "bad")).to eq(unusable)
      { "echo hello; exec #{Workers::PYTHON} \"$@\"" => /\Atransfer-rb .*\ntransfer-core #{Transfer::VERSION} /,
        "exec sleep 60" => unusable.first }.each do |script, said|
        File.write(python = "#{@scratch}/python", "#!/bin/sh\n#{script}\n", perm: 0o755)
        stub_const("Transfer::Doctor::PATIENCE_S", 0.3) if script.include?("sleep")
        Transfer.config.python = python
        expect(transfer("version")).to match([said, "", 0])
      end
    ensure
      Transfer.config.python = Workers::PYTHON
    end

    it "passes its status on to the shell" do
      expect(executable("version").last).to eq(0)
      expect(executable("trian").last).to eq(2)
    end

    it "shows where an error came from if TRANSFER_DEBUG asks for it" do
      expect(executable("trian", TRANSFER_DEBUG: "1")[1]).to match(/^transfer: unknown command.*\n.*thor/)
    end
  end

  describe "saving" do
    it "finds out before the training whether the file can be written" do
      FileUtils.touch("#{@scratch}/old.transfer")
      {
        @scratch => "#{@scratch} is a folder; name a file, such as #{@scratch}/model.transfer",
        "#{@scratch}/old.transfer" => "#{@scratch}/old.transfer is there already; --force overwrites it",
        "/dev/null" => "/dev/null can't be written: it is not a regular file",
        "#{@scratch}/no/m.transfer" => "#{@scratch}/no/m.transfer can't be written: there is no folder #{@scratch}/no"
      }.each do |file, message|
        expect(transfer("train", "photos", "--backbone", "mobilenet_v2", "--save", file)).to eq(
          ["", "transfer: #{message}\n", 1]
        )
      end
    end
  end

  describe "the recipe" do
    # What `transfer train photos ...` builds.
    def recipe(*argv)
      command = described_class.new([], argv, command_options: described_class.commands["train"].options)
      Transfer::Recipe.build(command.send(:recipe, "photos")).to_h
    end

    def built(**words, &)
      Transfer::Recipe.build({ backbone: "mobilenet_v2", data: "photos", **words }, &).to_h
    end

    it "takes MobileNetV2 if no backbone is named" do
      expect(recipe).to eq(built)
    end

    it "is the one that Ruby builds from the same words" do
      expect(recipe("--backbone", "mobilenet_v2")).to eq(built)
      expect(recipe("--backbone", "mobilenet_v2", "--epochs", "5", "--optimizer", "adam", "--learning-rate", "1e-3",
                    "--seed", "7", "--device", "cpu", "--preset", "best")).to eq(
                      built(epochs: 5, optimizer: :adam, learning_rate: 1e-3, seed: 7, device: :cpu, preset: :best)
                    )
    end

    it "reads numbers as people do, zeros in front or not" do
      expect(recipe("--epochs", "010")).to eq(built(epochs: 10))
      expect(recipe("--epochs", "0x10", "--learning-rate", "1e-3")).to eq(built(epochs: "0x10", learning_rate: 1e-3))
    end

    it "has steps if the backbone is fine-tuned" do
      expect(recipe("--backbone", "mobilenet_v2", "--epochs", "5", "--unfreeze-last", "3", "--fine-tune-epochs", "2",
                    "--fine-tune-optimizer", "sgd", "--fine-tune-learning-rate", "1e-4")).to eq(
                      built do
                        freeze :backbone
                        train epochs: 5
                        unfreeze last: 3
                        train epochs: 2, optimizer: :sgd, learning_rate: 1e-4
                      end
                    )
      expect(recipe("--backbone", "mobilenet_v2", "--unfreeze-all")["steps"]).to eq(
        built { freeze(:backbone) && train && unfreeze(:all) && train }["steps"]
      )
    end

    it "has head, augmentation, columns and splits" do
      expect(recipe("--backbone", "mobilenet_v2", "--hidden", "256,128", "--dropout", "0.3", "--augment", "flip,crop",
                    "--input-column", "file", "--target-column", "x,y", "--split-column", "part", "--test", "b.csv",
                    "--valid-size", "0.1")).to eq(
                      built(data: { train: "photos", test: "b.csv" }, split: { valid: 0.1 }) do
                        head :mlp, hidden: [256, 128], dropout: 0.3
                        augment :flip, :crop
                        columns input: "file", target: %w[x y], split: "part"
                      end
                    )
    end

    it "leaves it to the core to judge values" do
      expect(recipe("--backbone", "mobilenet_v2", "--epochs", "many")).to eq(built(epochs: "many"))
    end
  end

  # One small training, then everything that can be done with its model.
  describe "a model" do
    before(:context) do
      @models = Dir.mktmpdir
      photo_folder("#{@models}/photos", count: 10)
      @trained = transfer("train", "#{@models}/photos", "--backbone", "mobilenet_v2", "--save", model)
      Transfer.shutdown
    end

    after(:context) { FileUtils.rm_rf(@models) }

    def model = "#{@models}/colors.transfer"
    def photo(color) = "#{@models}/photos/#{color}/0.png"

    it "is trained, measured and saved" do
      out, err, status = @trained
      expect([err, status]).to eq(["", 0])
      expect(out.gsub(/[\d.]+ s$/, "1.0 s")).to eq(<<~TEXT)
        Accuracy on 6 photos it never saw: 100.0 % (95 % interval 100.0 % to 100.0 %)
        Balanced accuracy: 100.0 %, macro-F1: 1.000
        Always answering "green" would give: 33.3 %
        Photos: train 20 + valid 4 + test 6 = 30; 24 fitted, 24 calibrated on (cross-validation), 6 measured; took 1.0 s
        Warning: only 6 images are measured, each of them is 17 points of accuracy
        Saved #{model} (#{(File.size(model) / 1e6).round(1)} MB)
        Next: transfer predict #{model} INPUT
      TEXT
    end

    it "is trained on everything if nothing is to be held out" do
      out, err, status = transfer("train", "#{@models}/photos", "--test-size", "0")
      expect([out.lines.first, err, status]).to eq(["Nothing was held out, so it was not measured\n", "", 0])
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
      expect(json).to match([{ "input" => photos[0], "label" => "red", "score" => be_between(0, 1),
                               "scores" => include("green", "red", "blue") }])
    end

    it "takes lines of standard input for UTF-8, whatever the locale says, and prints names as they are" do
      FileUtils.cp(photo("red"), file = "#{@scratch}/f\u00F6to  1.png")
      lines = "#{file}\n".force_encoding(Encoding::US_ASCII)
      expect(transfer("predict", model, "-", input: lines)).to match([/\Ared\t\S+\t#{file}\n\z/, "", 0])
      expect(JSON.parse(transfer("predict", model, "--json", "-", input: lines).first)[0]["input"]).to eq(file)
      expect(transfer("predict", model, "-", input: "#{file}\n\ncaf\xE9\n")).to match(
        [/\Ared/, "transfer: line 3 of standard input: \"caf\\xE9\" is not valid UTF-8: " \
                  "convert the text, or rename the file\n", 3]
      )
      expect(transfer("predict", model, "-", input: "#{file}\n".force_encoding("ISO-8859-1")).last).to eq(0)
    end

    it "is described, and evaluated on other data" do
      expect(transfer("info", model).first).to match(
        /^labels    blue, green, red$.*^backbone  mobilenet_v2$.*^Accuracy on 6 photos/m
      )
      expect(JSON.parse(transfer("info", model, "--json").first)["recipe"]).to include("backbone" => "mobilenet_v2")

      photo_folder("#{@scratch}/new", count: 3, seed: 5)
      expect(transfer("evaluate", model, "#{@scratch}/new").first).to eq(<<~TEXT)
        Accuracy on 9 photos: 100.0 % (95 % interval 100.0 % to 100.0 %)
        Balanced accuracy: 100.0 %, macro-F1: 1.000
        Always answering "green" would give: 33.3 %
        Sets of 1.0 on average at a level of 90.0 %: the truth is in 100.0 % (95 % interval 100.0 % to 100.0 %)

        class  precision  recall     f1  photos
        blue       1.000   1.000  1.000       3
        green      1.000   1.000  1.000       3
        red        1.000   1.000  1.000       3
      TEXT
      expect(JSON.parse(transfer("evaluate", model, "#{@scratch}/new", "--json").first)).to include("accuracy" => 1.0)
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
      expect(transfer("embed", model, "--json", "-", input: "\n")).to eq(
        ["", "transfer: standard input named no input; transfer help embed explains it\n", 2]
      )
      expect(transfer("embed", model, photos[0], "--output", "vectors.txt")).to eq(
        ["", "transfer: vectors.txt must end in one of .npy, .csv, .jsonl\n", 1]
      )
    end

    it "embeds into no file that is there, unless told to" do
      File.write(file = "#{@scratch}/vectors.csv", "mine")
      expect(transfer("embed", "none.transfer", photo("red"), "--output", file))
        .to eq(["", "transfer: #{file} is there already; --force overwrites it\n", 1])
      expect(transfer("embed", "none.transfer", photo("red"), "--output", "#{@scratch}/no/v.npy").last(2))
        .to match([/no folder #{@scratch}/, 1])
      expect(transfer("embed", model, photo("red"), "--output", file, "--force").last).to eq(0)
      expect(File.read(file)).to start_with("input,0,1")
    end
  end

  describe "a model that brings code of its own" do
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
      expect(transfer("predict", model, photo)).to match(["", /say `--trust` if you trust it$/, 1])
      expect(transfer("predict", model, photo, "--trust")).to match([/\t#{photo}$/, "", 0])
      Transfer.shutdown
      File.write("#{@scratch}/elsewhere/trusted", "")
      expect(transfer("evaluate", model, "#{@scratch}/photos", "--trust").last).to eq(0)
      expect(transfer("embed", model, photo, "--json", "--trust").last).to eq(0)
    end
  end

  describe "errors" do
    it "are one line for each thing that is wrong, without a line of code" do
      train = ->(data, *words) { transfer("train", data, "--backbone", *words) }
      expect(train.call("photos", "mobilenet_v2", "--optimizer", "adm", "--epochs", "0")).to match(
        ["", /\Atransfer: epochs.*\ntransfer: unknown optimizer "adm", did you mean "adam"\?.*\n\z/, 1]
      )
      expect(train.call("photos", "mobilnet_v2")).to match(
        ["", /\Atransfer: unknown backbone "mobilnet_v2", did you mean "mobilenet_v2"\?.*\n\z/, 1]
      )
      expect(train.call("#{@scratch}/none", "mobilenet_v2")).to match(["", %r{\Atransfer: .*#{@scratch}/none.*\n\z}, 1])
      photo_folder("#{@scratch}/broken", count: 4)
      File.write("#{@scratch}/broken/#{Dir.children("#{@scratch}/broken").min}/x.png", "text")
      expect(train.call("#{@scratch}/broken", "mobilenet_v2")[1]).to match(
        %r{/x.png: it is not an image.* \(fix or remove it, or use --on-bad-input skip\)$}
      )
      expect(transfer("train", "\xFF"))
        .to eq(["", %(transfer: "\\xFF" is not valid UTF-8: rename the file\n), 1])
      expect(transfer("predict", "#{@scratch}/none.transfer", "a.png")).to match(
        ["", %r{\Atransfer: .*#{@scratch}/none.transfer.*\n\z}, 1]
      )
    end

    it "tell of Ctrl-C with status 130" do
      photo_folder("#{@scratch}/photos", count: 4)
      command = [RbConfig.ruby, "-I", Scripts::LIB, "gem/exe/transfer", "train", "#{@scratch}/photos", "--backbone",
                 "mobilenet_v2", "--epochs", "100000", "--optimizer", "adam", "--device", "cpu"]
      Open3.popen3({ "TRANSFER_HOME" => "#{@scratch}/home" }, *command) do |_, _, err, process|
        sleep 0.1 until (run = Dir["#{@scratch}/home/runs/*/run.json"].first)
        sleep 0.5
        Process.kill("INT", process.pid)
        id = File.basename(File.dirname(run))
        expect([err.read, process.value.exitstatus]).to eq(["transfer: stopped; transfer resume #{id} goes on\n", 130])
      end
    end
  end

  describe "doctor" do
    include Keys

    it "finds nothing wrong here" do
      out, err, status = transfer("doctor")
      expect([err, status]).to eq(["", 0])
      expect(out).to match(/\Aok  interpreter +.*^ok  torch  .*^ok  device  /m)
      expect(out.lines).to all(start_with("ok  "))
    end

    it "says which command mends what is broken, and ends with status 1" do
      out, err, status = executable("doctor", TRANSFER_PYTHON: nil, TRANSFER_HOME: @scratch, PATH: "/nowhere",
                                              VIRTUAL_ENV: nil, RUBYOPT: "-r#{no_checkout}")
      expect([err, status]).to eq(["", 1])
      expect(out).to match(/\AFAULT  interpreter  found no Python .*\nTo mend interpreter: transfer setup\n\z/)
    end

    def environment(**note)
      FileUtils.mkdir_p("#{@scratch}/env/bin")
      File.write("#{@scratch}/env/bin/python", "#!/bin/sh\nexec #{ENV.fetch('TRANSFER_PYTHON')} \"$@\"\n")
      File.chmod(0o755, "#{@scratch}/env/bin/python")
      File.write("#{@scratch}/env/transfer-setup.json", JSON.generate(note))
    end

    it "compares what was asked of setup, and needed by the settings, with what is there" do
      environment(gem_version: Transfer::VERSION, torch: "9.9", extras: ["timm"])
      key = key_pair("#{@scratch}/key").public
      out, = executable("doctor", "--json", TRANSFER_PYTHON: nil, TRANSFER_HOME: @scratch,
                                            TRANSFER_REQUIRE_SIGNATURE: key)
      checks = JSON.parse(out).to_h { |check| [check["name"], check.values_at("ok", "remedy")] }
      expect(checks).to include("torch build" => [false, "transfer setup --force --cuda 9.9"],
                                "extra timm" => [true, nil], "extra signing" => [true, nil])
      out, = executable("doctor", "--json")
      expect(JSON.parse(out).map { |check| check["name"] }.grep(/extra|build/)).to eq([])
    end

    it "notices an environment of another version" do
      environment(gem_version: "0.0.9")
      out, _, status = executable("doctor", "--json", TRANSFER_PYTHON: nil, TRANSFER_HOME: @scratch)
      expect([JSON.parse(out)[1], status]).to eq(
        [{ "name" => "environment", "ok" => false, "detail" => "made by version 0.0.9, this is #{Transfer::VERSION}",
           "remedy" => "transfer setup" }, 1]
      )
    end

    # Ruby code that hides the .venv of this checkout.
    def no_checkout
      "#{@scratch}/no_checkout.rb".tap do |file|
        File.write(file, <<~RUBY)
          require "transfer"
          Transfer::Python.singleton_class.define_method(:checkout) { Transfer::Python::Place.new("checkout", nil, "hidden") }
        RUBY
      end
    end
  end

  describe "backbones" do
    # The table's rows; what follows an empty line explains it.
    def rows(*words)
      lines = transfer("backbones", *words).first.lines(chomp: true)
      lines.drop(1).take_while { |line| line != "" }.map(&:split)
    end

    it "are listed, filtered and sorted" do
      all = rows("--source", "torchvision", "--all", "--sort", "name")
      expect(all.map(&:first)).to eq(all.map(&:first).sort).and include("mobilenet_v2", "resnet18")
      expect(all.size).to eq(80)
      small = rows("--max-parameters", "3.6M", "--sort", "parameters", "--source", "torchvision")
      expect(small.map { |row| row[1].to_f }).to eq(small.map { |row| row[1].to_f }.sort)
      expect(small.map(&:first)).to include("mobilenet_v2").and(satisfy { |names| !names.include?("resnet18") })
      best = rows("--sort", "metric", "--source", "torchvision").first
      expect(best[2].to_f).to eq(all.map { |row| row[2].to_f }.max)
      expect(rows("--license", "bsd-3-clause", "--all")).to all(include("BSD-3-Clause"))
      expect(rows("--offline").map(&:first)).to include("mobilenet_v2").and(satisfy { |names| names.size < 80 })
    end

    it "come with the most relevant first, in 100 columns, and say what is left out" do
      %w[image_classification text_classification].each do |task|
        out, err, status = transfer("backbones", "--task", task)
        expect([err, status]).to eq(["", 0])
        expect(out.lines(chomp: true).map(&:size).max).to be <= 100
        expect(out).to match(/^metric: /)
      end
      out = transfer("backbones", "--task", "image_classification", "--max-parameters", "10M").first
      above = out.scan(/\s([+-]\d+\.\d)\s/).flatten.map(&:to_f)
      expect(above).to eq(above.sort.reverse).and(satisfy { |numbers| numbers.size == 30 })
      expect(out).to match(/^\d+ more: --all shows them/)
      all = transfer("backbones", "--all").first.lines(chomp: true)
      expect([all.size, all.map(&:size).max]).to match([be > 1200, be <= 100])
    end

    it "say everything about one, and everything as JSON" do
      page = transfer("backbones", "resnet18").first
      expect(page).to include("arXiv:1512.03385", "9 blocks:\n  stem, layer1_0,", "IMAGENET1K_V1  BSD-3-Clause   69.8")
      expect(page).to match(/^source +torchvision$.*^input size +224 x 224 .*^metric +69\.8 \(ImageNet-1K top-1\)/m)
      expect(page).to match(/^for size +-\d+\.\d beside .*^terms: ImageNet/m)
      page = transfer("backbones", "sklearn:ColumnTransformer").first
      expect(page).to match(/^1 block:/)
      expect(page).not_to match(/^embedding width|^parameters/)
      facts = JSON.parse(transfer("backbones", "--json", "--source", "timm").first)
      expect(facts.first).to include("name", "license", "paper", "arxiv", "weights_url", "metric_source", "relevance")
    end

    it "gives the nearest of an unknown word" do
      expect(transfer("backbones", "--license", "apache")).to match(
        ["", /\Atransfer: unknown license "apache", did you mean "Apache-2.0"\?/, 1]
      )
      expect(transfer("backbones", "resnet19").last(2)).to match([/did you mean "resnet18"\?/, 1])
    end
  end
end
