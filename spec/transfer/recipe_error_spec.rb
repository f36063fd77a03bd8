# frozen_string_literal: true

RSpec.describe Transfer::RecipeError do
  here = "spec/transfer/recipe_error_spec.rb"
  words = "data, corrections, from, source, unlabelled, map_labels, distill, backbone, weights, trust, task, " \
          "columns, text, languages, generation, split, on_bad_input, keep_examples, augment, image_size, head, " \
          "steps, freeze, train, unfreeze, finetune, adapt, weigh, regularize, reuse, seed, device, precision, " \
          "processes, preset, budget, engine, storage, on"

  describe "a wrong word" do
    it "points at its line and suggests the nearest" do
      error = error_of do
        Transfer.train(backbone: "b") do
          seed 1
          agument :flip
        end
      end
      expect(error.message).to eq(
        "#{here}:#{__LINE__ - 4}: unknown word \"agument\", did you mean \"augment\"? (one of: #{words}); " \
        "to call your own methods, give the block an argument: { |recipe| … }"
      )
      expect(error.backtrace.first).to start_with("#{__FILE__}:#{__LINE__ - 7}:in")
      expect(Leaks.children).to eq([])
    end

    it "is found in the steps of a class" do
      error = error_of { Class.new(Transfer::Recipe) { steps { unfreze last: 1 } } }
      expect(error.message).to start_with(
        "#{here}:#{__LINE__ - 2}: unknown word \"unfreze\", did you mean \"unfreeze\"? (one of: freeze, unfreeze, "
      )
    end

    it "is an unknown method of a class" do
      expect { Class.new(Transfer::Recipe) { bakbone "b" } }.to raise_error(NoMethodError, /bakbone/)
    end

    it "is left alone where another object lacks the method", signatures: false do
      expect { Transfer.train { seed Object.new.number } }.to raise_error(NoMethodError, /number/)
      expect { Transfer.train { raise NameError, "mine" } }.to raise_error(NameError, "mine")
    end

    { freeze: [:backbone], unfreeze: [:all], finetune: [:lora] }.each do |step, arguments|
      it "may be #{step} outside of the steps of a class" do
        error = error_of { Class.new(Transfer::Recipe) { __send__(step, *arguments) } }
        expect(error.message)
          .to eq("#{here}:#{__LINE__ - 2}: #{step} is a step. Fix: write it in a block, `steps do … end`")
      end
    end

    it "may be an event" do
      error = error_of { Transfer.train { on(:epcoh) { nil } } }
      expect(error.message).to eq(
        "#{here}:#{__LINE__ - 2}: unknown event \"epcoh\", did you mean \"epoch\"? " \
        "(one of: run, stage, progress, epoch, overall, warning)"
      )
    end

    it "may be a keyword, which the core takes for a training word first" do
      backend("core")
      error = error_of { Transfer.train(bakbone: "b", data: "p", epocs: 1) }
      line = "#{here}:#{__LINE__ - 1}"
      expect(error.message.lines(chomp: true)).to eq(
        [
          "#{line}: unknown word \"bakbone\", did you mean \"backbone\"? (one of: #{words})",
          "#{line}: unknown word \"epocs\" for train (one of: epochs, optimizer)",
          "#{line}: backbone is missing"
        ]
      )
    end
  end

  describe "a wrong value" do
    before { backend("core") }

    it "found by the core points at the line of the block" do
      error = error_of do
        Transfer.train(backbone: "b", data: "p") do
          freeze :backbone
          train epochs: 5,
                optimizer: :adm
          seed "x"
        end
      end
      expect(error.message.lines(chomp: true)).to eq(
        [
          "#{here}:#{__LINE__ - 7}: unknown optimizer \"adm\", did you mean \"adam\"? (one of: lbfgs, adam)",
          "#{here}:#{__LINE__ - 6}: seed: expected `int`, got `str` (got 'x')"
        ]
      )
      expect(error.backtrace.first).to start_with("#{__FILE__}:#{__LINE__ - 11}:in")
      expect(error.problems.map(&:path)).to eq(["steps[1].optimizer", "seed"])
      expect(error.problems.first.message).to start_with("unknown optimizer")
      expect(error.problems.first.location.lineno).to eq(__LINE__ - 14)
    end

    it "points at the line of a class body, and what is missing at the call" do
      child = Class.new(Transfer::Recipe) do
        steps { train optimizer: :adm }
      end
      error = error_of { child.train(data: "p") }
      expect(error.message.lines.map { |line| line[/rb:(\d+)/, 1].to_i }).to eq([__LINE__ - 3, __LINE__ - 1])
    end

    it "points at the line in a helper method that the block calls", signatures: false do
      error = error_of { Transfer.train(backbone: "b", data: "p") { |recipe| fast_steps(recipe) } }
      expect(error.problems.first.location.label).to include("fast_steps")
    end

    it "is raised by the value of a job" do
      job = Transfer.train_async(data: "p")
      error = error_of { job.value }
      expect(error.message).to eq("#{here}:#{__LINE__ - 2}: backbone is missing")
      expect(job.status).to eq(:failed)
    end

    it "that is no data at all is found at once" do
      error = error_of { Transfer.train { train epochs: Object } }
      expect(error.message).to eq(
        "#{here}:#{__LINE__ - 2}: epochs: expected plain data (text, numbers, lists, hashes), got Class"
      )
      error = error_of { Transfer.train { seed 2**64 } }
      expect(error.message).to start_with("#{here}:#{__LINE__ - 1}: seed: expected plain data").and end_with(" 64 bits")
      error = error_of { Transfer.train { data Object.new } }
      expect(error.message).to eq(
        "#{here}:#{__LINE__ - 2}: data: expected a path, rows that can be iterated, or one of them each for train, " \
        "valid and test, got Object"
      )
      error = error_of { Transfer.train { augment crop: 0.5 } }
      expect(error.message).to eq("#{here}:#{__LINE__ - 1}: augment: crop takes its options as a hash, got 0.5")
    end

    {
      { train: 5 } => "train: takes options such as { epochs: 5 }, got 5",
      { on: :epoch } => "on: takes a block for each event: { epoch: ->(epoch) { … } }, got :epoch",
      { on: nil } => "on: takes a block for each event: { epoch: ->(epoch) { … } }, got nil",
      { head: [:mlp, 5] } => "head: takes a name and options, got [:mlp, 5]",
      { finetune: %i[lora adapters] } => "finetune: takes a name and options, got [:lora, :adapters]",
      { augment: { 5 => 1 } } => "augment: 5 takes its options as a hash, got 1",
      { data: { train: "p", foo: Object.new } } =>
        "data: expected a path, rows that can be iterated, or one of them each for train, valid and test, got Object"
    }.each do |keywords, message|
      it "of a keyword that can't be written down is found at once: #{keywords.keys.first} #{message[/got .*/]}" do
        error = error_of { Transfer.train(**keywords) }
        expect(error.message).to eq("#{here}:#{__LINE__ - 1}: #{message}")
      end
    end

    it "may concern a question instead of a recipe" do
      expect { Transfer.backbone(:mobilnet) }
        .to raise_error(described_class, 'unknown backbone "mobilnet" (one of: mobilenet_v2)')
    end

    it "shows code of irb and eval" do
      error = error_of { eval("Transfer.train(data: 'p')", binding, "(irb)", 7) } # rubocop:disable Style/EvalWithLocation
      expect(error.message).to eq("(irb):7: backbone is missing")
    end
  end

  def fast_steps(recipe)
    recipe.train optimizer: :adm
  end
end
