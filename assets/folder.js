// Takes a folder of source code from the browser, with its paths, which an upload through Gradio would lose.
// The value is {endings, largest, most}: what counts as source, and the limits in bytes of one file and of all.
const LEFT_OUT = /(^|\/)(\.[^/]*|node_modules|__pycache__|venv|env|site-packages|vendor|build|dist)(\/)/;
const input = element.querySelector("input");
const said = element.querySelector(".said");

const base64 = (file) => new Promise((resolve, reject) => {
  const reader = new FileReader();
  reader.onload = () => resolve(reader.result.slice(reader.result.indexOf(",") + 1));
  reader.onerror = () => reject(reader.error);
  reader.readAsDataURL(file);
});

element.querySelector("button").addEventListener("click", () => input.click());
input.addEventListener("change", async () => {
  const limits = props.value;
  const wanted = [...input.files].filter((file) => file.size && file.size <= limits.largest
    && !LEFT_OUT.test(file.webkitRelativePath) && limits.endings.some((ending) => file.name.toLowerCase().endsWith(ending)));
  const total = wanted.reduce((sum, file) => sum + file.size, 0);
  if (total > limits.most) {
    said.textContent = `The source files are ${Math.round(total / 1e6)} MB; ${Math.round(limits.most / 1e6)} MB can be taken at once. Choose a smaller folder, or use the command line.`;
    return;
  }
  said.textContent = wanted.length ? `Reading ${wanted.length} files …` : "There is no source code in that folder.";
  if (!wanted.length) return;
  const files = [];
  for (const file of wanted) files.push([file.webkitRelativePath, await base64(file)]);
  said.textContent = `${wanted.length} files were taken.`;
  input.value = "";
  trigger("upload", { files });
});
